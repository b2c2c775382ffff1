/* The acks and nacks of a consumer, gathered: what comes while a request is under way goes out together with the next. Acks go along with a
 * receive where there is one to go, which saves their request.
 *
 * While the server is away they are tried again for as long as one of their leases is ours: an ack given up is work done twice. */
import type { Settlement } from '../wire.ts'
import type { Patience } from './connection.ts'
import { isOurs, type Lease } from './leases.ts'
import type { RemoteQueue } from './remote.ts'
import { explain, MAX_BATCH, type NackOptions, refuse, settle } from './settle.ts'

export interface Settler {
  /** Resolves when the lease is settled; rejects with a QueueError if it was not ours any more, or the server refuses. */
  settle(lease: Lease, verb: 'ack' | 'nack', request?: NackOptions): Promise<void>
  /** Send what is gathered. */
  flush(): void
  /** Take the acks that are gathered, to go along with a receive. */
  ride(): Ride
}

/** Acks on their way with a receive. One of the two must be called. */
export interface Ride {
  readonly receipts: readonly string[]
  arrived(results: readonly Settlement[]): void
  /** The receive failed, and nobody knows how far it came: they are gathered again. */
  missed(): void
}

interface Settling {
  readonly lease: Lease
  readonly verb: 'ack' | 'nack'
  readonly request: NackOptions
  /** True if an earlier request may have settled it. */
  readonly again?: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export function createSettler(queue: RemoteQueue, report: (error: unknown) => void): Settler {
  let gathered: Settling[] = []
  let running = false

  return {
    settle: (lease, verb, request = {}) =>
      new Promise((resolve, reject) => {
        gathered.push({ lease, verb, request, resolve, reject })
      }),
    flush() {
      if (!running && gathered.length > 0) void run()
    },
    ride() {
      const acks = gathered.filter(({ verb }) => verb === 'ack')
      gathered = [...gathered.filter(({ verb }) => verb !== 'ack'), ...acks.splice(MAX_BATCH)]
      return {
        receipts: acks.map(({ lease }) => lease.receipt),
        arrived: (results) => tell(acks, results),
        missed() {
          gathered.unshift(...acks.map((ack) => ({ ...ack, again: true })))
        },
      }
    },
  }

  async function run(): Promise<void> {
    running = true
    await null // What ends in this very turn goes along.
    while (gathered.length > 0) {
      const batch = gathered.splice(0, MAX_BATCH)
      const alike = Map.groupBy(batch, ({ verb, request, again }) => JSON.stringify([verb, request, again]))
      await Promise.all([...alike.values()].map(settleTogether))
    }
    running = false
  }

  async function settleTogether(group: readonly Settling[]): Promise<void> {
    const { verb, request, again } = group[0] as Settling
    const receipts = group.map(({ lease }) => lease.receipt)
    const retry: Patience['retry'] = (error) => {
      report(error)
      return group.some(({ lease }) => isOurs(lease))
    }
    try {
      const results = await settle(queue, verb, { ...request, receipts }, { retry })
      const explained = again ? explain(verb, results) : results
      tell(group, explained)
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }

  function tell(settlings: readonly Settling[], results: readonly Settlement[]): void {
    for (const [index, { verb, lease, resolve, reject }] of settlings.entries()) {
      try {
        refuse(verb, lease.id, results[index]?.outcome)
        resolve()
      } catch (error) {
        reject(error)
      }
    }
  }
}
