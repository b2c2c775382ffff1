/* The acks and nacks of a consumer, gathered: the first goes out at once, and what comes while a request is under way goes out together
 * with the next. So an idle consumer waits for nothing, and a busy one makes few requests.
 *
 * While the server is away they are tried again for as long as one of their leases is ours: an ack given up is work done twice. */
import type { Patience } from './connection.ts'
import { isOurs, type Lease } from './leases.ts'
import type { RemoteQueue } from './remote.ts'
import { type NackOptions, refuse, settle } from './settle.ts'

/** Resolves when the lease is settled; rejects with a QueueError if it was not ours any more, or the server refuses. */
export type Settler = (lease: Lease, verb: 'ack' | 'nack', request?: NackOptions) => Promise<void>

interface Settling {
  readonly lease: Lease
  readonly verb: 'ack' | 'nack'
  readonly request: NackOptions
  readonly resolve: (settled: Promise<void>) => void
}

const MAX_BATCH = 1000

export function createSettler(queue: RemoteQueue, report: (error: unknown) => void): Settler {
  const gathered: Settling[] = []
  let running = false

  return (lease, verb, request = {}) =>
    new Promise((resolve) => {
      gathered.push({ lease, verb, request, resolve })
      if (!running) void run()
    })

  async function run(): Promise<void> {
    running = true
    await null // What ends in this very turn goes along.
    while (gathered.length > 0) {
      const batch = gathered.splice(0, MAX_BATCH)
      const alike = Map.groupBy(batch, ({ verb, request }) => JSON.stringify([verb, request]))
      await Promise.all([...alike.values()].map(settleTogether))
    }
    running = false
  }

  async function settleTogether(group: readonly Settling[]): Promise<void> {
    const { verb, request } = group[0] as Settling
    const receipts = group.map(({ lease }) => lease.receipt)
    const retry: Patience['retry'] = (error) => {
      report(error)
      return group.some(({ lease }) => isOurs(lease))
    }
    const answer = settle(queue, verb, { ...request, receipts }, { retry })
    group.forEach(({ lease, resolve }, index) => {
      resolve(answer.then((results) => refuse(verb, lease.id, results[index]?.outcome)))
    })
    await answer.catch(() => {})
  }
}
