/* A message in the hands of a consumer: its lease is kept until it is settled. */

import type { Lease } from './leases.ts'
import { type Message, toMessage } from './message.ts'
import type { Delivery } from './receive.ts'
import type { RemoteQueue } from './remote.ts'
import { isAckedAnyway, reply } from './reply.ts'
import { type NackOptions, settleOne } from './settle.ts'

export interface HeldMessage<Body = unknown> extends Message<Body> {
  /** Aborts when the lease is lost: somebody else may have the message now, so stop what should not be done twice. Its reason is a
   * QueueError: `lease_lost`, `lease_expired` or `message_gone`. Stopping the consumer does not abort it. */
  readonly signal: AbortSignal
}

export interface Held<Body> extends Lease {
  readonly message: HeldMessage<Body>
  /** Its handler gave it back, to be received again: then it is the next of its group. */
  nacked: boolean
}

/** @param release is called when the message's own ack or nack has succeeded. */
export function hold<Body>(
  queue: RemoteQueue,
  delivery: Delivery,
  endsAt: number,
  release: (held: Held<Body>) => void,
): Held<Body> {
  const { id, receipt } = delivery
  const lost = new AbortController()
  const message = toMessage<Body>(
    delivery,
    (verb, request, options) => {
      const outcome = settleOne(queue, verb, delivery, request, options)
      if (verb === 'extend') return outcome
      return settledBy(outcome, verb === 'nack' && !(request as NackOptions).deadLetter)
    },
    (body, options) => settledBy(reply(queue, delivery, body, options), false),
  )
  const held: Held<Body> = {
    id,
    receipt,
    lost,
    endsAt,
    settlement: undefined,
    nacked: false,
    message: Object.assign(message, { signal: lost.signal }),
  }
  return held

  function settledBy(outcome: Promise<void>, nacked: boolean): Promise<void> {
    const before = { settlement: held.settlement, nacked: held.nacked }
    const settlement = outcome
      .catch((error) => {
        if (isAckedAnyway(error)) return
        // Nothing was done, or nobody knows: so it is for the end of its handler to settle it.
        if (held.settlement === settlement) Object.assign(held, before)
        throw error
      })
      .then(() => release(held))
    // (Who has not waited for it hears of it from the consumer.)
    settlement.catch(() => {})
    Object.assign(held, { settlement, nacked })
    return outcome
  }
}
