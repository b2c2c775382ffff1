/* Keeping leases while handlers run.
 *
 *  1. Every third of a lease, all messages in hand are extended in one request (of each thousand). So a lease survives an extension that fails.
 *  2. A lease is lost when the server says so, or when its time is over by our own clock because no extension got through: then
 *     somebody else may be working on the message, and its signal tells the handler. */
import { QueueError } from '../errors.ts'
import type { RemoteQueue } from './remote.ts'
import { MAX_BATCH, refuse, settle } from './settle.ts'

export interface Lease {
  readonly id: string
  readonly receipt: string
  /** In milliseconds of effects.now. Starts with the answer's arrival, a little later than at the server. */
  endsAt: number
  /** Aborts when the lease is lost, with a QueueError. */
  readonly lost: AbortController
  /** Set once an ack or nack is on its way: from then on the answer to an extension says nothing. */
  settlement: Promise<void> | undefined
}

type Report<Held> = (error: unknown, lease?: Held) => void

export function isOurs({ lost }: Lease): boolean {
  return !lost.signal.aborted
}

/** Loses it if its time is over. (The timer that would do so has no turn while handlers block the process, or while it is frozen.) */
export function isOursAt<Held extends Lease>(now: number, lease: Held, report: Report<Held>): boolean {
  if (isOurs(lease) && lease.endsAt <= now) {
    const message = `message ${lease.id} must be extended in time, got no answer`
    lose(lease, new QueueError('lease_expired', message), report)
  }
  return isOurs(lease)
}

function lose<Held extends Lease>(lease: Held, error: unknown, report: Report<Held>): void {
  lease.lost.abort(error)
  report(error, lease)
}

/** Runs until `finished` aborts. */
export async function keepLeases<Held extends Lease>(
  queue: RemoteQueue,
  held: ReadonlySet<Held>,
  leaseSeconds: number,
  finished: AbortSignal,
  report: Report<Held>,
): Promise<void> {
  const { now, sleep } = queue.connection.effects
  const third = (leaseSeconds * 1000) / 3

  while (!finished.aborted) {
    const firstEnd = Math.min(...[...held].filter(isOurs).map((lease) => lease.endsAt))
    await sleep(Math.max(0, Math.min(third, firstEnd - now())), finished).catch(() => {})
    const ours = [...held].filter((lease) => isOursAt(now(), lease, report))
    while (ours.length > 0) void extend(ours.splice(0, MAX_BATCH))
  }

  async function extend(leases: readonly Held[]): Promise<void> {
    if (finished.aborted) return
    const started = now()
    const receipts = leases.map((lease) => lease.receipt)
    try {
      const retry = () => now() < started + third
      const patience = { signal: finished, timeoutSeconds: third / 1000, retry }
      const results = await settle(queue, 'extend', { receipts, leaseSeconds }, patience)
      for (const [index, lease] of leases.entries()) {
        try {
          refuse('extend', lease.id, results[index]?.outcome)
          lease.endsAt = started + leaseSeconds * 1000
        } catch (error) {
          if (!lease.settlement) lose(lease, error, report)
        }
      }
    } catch (error) {
      if (!finished.aborted) report(error)
    }
  }
}
