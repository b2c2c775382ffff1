/* How a platform delivers, as its entry says it and the door finds it: what lives runs a deliverer all the time (process.ts); what is
 * called and ends has it drain, for as long as it may.
 *
 * What may have made deliveries due (a publish …) says `begin`. What that does is the platform's: wake the deliverer that runs, drain after
 * the answer, have another invocation do it. */
import type { WebhookSettings } from '../config.ts'
import { webhookConfig } from './config.ts'
import { createDeliverer, type Deliverer, type DelivererOptions, type Drained, type DrainLimits } from './deliverer.ts'

/** Given with a request where webhooks are delivered. */
export interface Delivering {
  /** Something may be due now: have it delivered, without waiting for that. */
  begin(): void
  /** Deliver for up to so many seconds; with `waits` also what becomes due meanwhile. If there is more, it is had delivered where the
   * platform can. */
  run(seconds: number, waits: boolean): Promise<Drained>
}

/** Undefined if there are no settings for webhooks. */
export function delivererOf(
  settings: WebhookSettings | undefined,
  options: Omit<DelivererOptions, 'open' | 'policy'>,
): Deliverer | undefined {
  const webhooks = webhookConfig(settings)
  return webhooks && createDeliverer({ ...options, open: webhooks.box.open, policy: webhooks.policy })
}

/** The longest that an endpoint may allow an attempt to take. */
const longestAttemptMillis = 60_000

/** For a drain in what lives for so long: the last attempts get the time that their endpoints allow, if that leaves two fifths of it to
 * begin. */
export function limitsWithin(lifeMillis: number, beginMillis = Infinity): DrainLimits {
  return {
    beginMillis: Math.min(beginMillis, Math.max(lifeMillis - longestAttemptMillis, lifeMillis * 0.4)),
    endMillis: lifeMillis,
  }
}

/** Whether to go on at once, in what lives anew: there is more, and it is not in vain. */
export function hasMore({ attempts, dueInMillis }: Drained): boolean {
  return dueInMillis === 0 && attempts > 0
}

/** Drains of requests that share an instance: each delivers what its own has made due; one at a time waits for what becomes due soon. */
export function oneWaits<Given extends unknown[]>(
  drain: (waits: boolean, ...given: Given) => Promise<Drained>,
): (...given: Given) => Promise<Drained> {
  let doesOneWait = false
  return async (...given) => {
    if (doesOneWait) return drain(false, ...given)
    doesOneWait = true
    try {
      return await drain(true, ...given)
    } finally {
      doesOneWait = false
    }
  }
}
