/* Delivering in a Worker, which ends soon after its answer: what is due is delivered then (waitUntil), by cron, and when an object's alarm
 * rings (durable-object.ts), which is set for the time when the next delivery is due. The platform's rules, and how they are kept:
 *
 *  1. What goes on after an answer is cut after 30 s. So deliveries are begun for 10 s, and over after 25.
 *  2. Six connections are open at a time. So there are four slots, beside the database.
 *  3. An invocation makes 50 requests (free), or 1,000. So it makes 40 attempts; the alarm goes on with the rest at once.
 *  4. I/O belongs to its request: nothing of this is shared, but the time for which the alarm is known to be set. */
import { webhookSettings } from '../config.ts'
import type { Executor } from '../db/call.ts'
import type { Drained, DrainLimits } from './deliverer.ts'
import { type Delivering, delivererOf, limitsWithin } from './delivering.ts'
import { attemptWithFetch } from './fetch-attempt.ts'

/** What wrangler.toml binds, as far as deliveries need it. */
export interface WebhookEnv {
  /** Seals the secrets of webhook endpoints. Without it there are none. */
  readonly POSTBAG_WEBHOOK_KEY?: string
  /** "true" for development: lets http and private addresses be called. */
  readonly POSTBAG_WEBHOOK_ALLOW_PRIVATE?: string
  /** The only ports that may be called, separated by commas. Defaults to 80, 443 and those from 1024 on. */
  readonly POSTBAG_WEBHOOK_PORTS?: string
  /** Attempts under way at a time, of one invocation. Defaults to 4. */
  readonly WEBHOOK_SLOTS?: string
  /** Most attempts of one invocation. Defaults to 40. */
  readonly WEBHOOK_ATTEMPTS?: string
  /** The object whose alarm delivers. Without it retries wait for cron. */
  readonly WEBHOOKS?: AlarmNamespace
}

/** The binding of the object's class, as far as we use it. */
interface AlarmNamespace {
  getByName(name: string): { ringIn(millis: number): Promise<void> }
}

export interface WorkerDelivering extends Delivering {
  /** What there was to begin; nothing if there was nothing. For waitUntil. */
  finish(): Promise<unknown>
  /** For cron: with an object for the rest, or waiting for it. */
  onClock(): Promise<unknown>
}

const waitUntilMillis = 25_000
const clockMillis = 50_000
/** Before it is tried again in vain. */
const vainPauseMillis = 1000

/** @throws Error with a sentence that says what to set */
export function settingsOf({ POSTBAG_WEBHOOK_KEY, POSTBAG_WEBHOOK_ALLOW_PRIVATE, POSTBAG_WEBHOOK_PORTS }: WebhookEnv) {
  return webhookSettings({ POSTBAG_WEBHOOK_KEY, POSTBAG_WEBHOOK_ALLOW_PRIVATE, POSTBAG_WEBHOOK_PORTS })
}

/** Undefined: there are no settings for webhooks. */
export function workerDelivering(
  env: WebhookEnv,
  executor: Executor,
  onError: (error: unknown) => void,
): WorkerDelivering | undefined {
  if (!env.POSTBAG_WEBHOOK_KEY) return undefined
  let isAsked = false
  const drain = async (limits: DrainLimits) => {
    const drained = await drainInWorker(env, executor, onError, limits)
    await setAlarm(env, drained)
    return drained
  }
  return {
    begin() {
      isAsked = true
    },
    run: (seconds, waits) => drain({ ...limitsWithin((seconds + 60) * 1000, seconds * 1000), waits }),
    finish: async () => isAsked && drain(limitsWithin(waitUntilMillis)).catch(onError),
    onClock: () => drain({ ...limitsWithin(clockMillis + 60_000, clockMillis), waits: !env.WEBHOOKS }),
  }
}

/** Made when there is something to do: most requests have nothing to deliver. */
export async function drainInWorker(
  env: WebhookEnv,
  executor: Executor,
  onError: (error: unknown) => void,
  limits: DrainLimits,
): Promise<Drained> {
  const slots = wholeNumber('WEBHOOK_SLOTS', env.WEBHOOK_SLOTS ?? '4')
  const mostAttempts = wholeNumber('WEBHOOK_ATTEMPTS', env.WEBHOOK_ATTEMPTS ?? '40')
  const deliverer = delivererOf(settingsOf(env), {
    executor,
    attempt: attemptWithFetch,
    slots,
    roomPerSlot: 1,
    onError,
  })
  return deliverer ? deliverer.drain({ ...limits, mostAttempts }) : { attempts: 0, dueInMillis: undefined }
}

/** In how many milliseconds the rest of a drain is to be delivered; undefined: there is none. */
export function nextMillis({ attempts, dueInMillis }: Drained): number | undefined {
  return dueInMillis === 0 && attempts === 0 ? vainPauseMillis : dueInMillis
}

/** For when it is known to be set, in this isolate. */
let knownAlarmAt = 0

async function setAlarm({ WEBHOOKS }: WebhookEnv, drained: Drained): Promise<void> {
  const millis = nextMillis(drained)
  if (!WEBHOOKS || millis === undefined) return
  const now = Date.now()
  if (knownAlarmAt > now && knownAlarmAt <= now + millis) return
  await WEBHOOKS.getByName('webhooks').ringIn(millis)
  knownAlarmAt = now + millis
}

function wholeNumber(name: string, given: string): number {
  const value = Number(given)
  if (Number.isInteger(value) && value >= 1 && value <= 1000) return value
  throw new Error(`${name} must be a whole number between 1 and 1000, got ${given}`)
}
