/* The wake-up hub as a Durable Object: for all Workers, wherever they run, it holds the one connection that listens (listen-hub.ts), and
 * the places of those who wait. What calls it from the Worker, and why no wake-up is lost between the two: remote-hub.ts.
 *
 *  1. All calls of an object share what it has open, unlike the requests of a Worker. So the hub of a long-lived process fits unchanged.
 *  2. It keeps nothing that must last. Evicted, moved or renewed by a deploy, it begins empty; its callers see their calls fail, and come
 *     again. (During a deploy two may live side by side: each hears all notifications, and serves its own.)
 *  3. Whoever waits holds a place. The place goes when its Worker says so, or when nothing holds it any more, because that Worker's
 *     request is over, however it ended: the runtime then disposes of it.
 *  4. The runtime's sockets have no keep-alive, so a connection that died without a word is found by the hub's pings. */
import { DurableObject, RpcTarget } from 'cloudflare:workers'
import { type HubVariables, hubSettings } from '../config.ts'
import { connect } from '../db/connect.ts'
import type { Hub, Waiter } from './hub.ts'
import { createListenHub } from './listen-hub.ts'

/** What wrangler.toml binds, as far as the object reads it. */
export interface HubEnv extends HubVariables {
  readonly HYPERDRIVE?: { readonly connectionString: string }
}

/** How long a statement of the hub's may take, in milliseconds; then its connection counts as dead. */
const answerTimeoutMillis = 10_000

export class WakeupHub extends DurableObject<HubEnv> {
  #made: Hub | undefined

  /** Made for the first who waits: a poke where nobody does opens nothing. */
  get #hub(): Hub {
    const { directUrl: url = '', lingerSeconds } = hubSettings(this.env)
    this.#made ??= createListenHub({
      url,
      // (Through Hyperdrive, so that it shows whether what is sent there is heard here.)
      executor: connect(this.env.HYPERDRIVE?.connectionString ?? url, { maxConnections: 1, answerTimeoutMillis }),
      lingerMillis: lingerSeconds * 1000,
      say: (wakeUp) => console.log(JSON.stringify({ time: new Date().toISOString(), level: 'info', wakeUp })),
    })
    return this.#made
  }

  /** Begin to wait for a queue. @param hasLooked whether the caller has just looked, and found nothing */
  wait(queue: string, max: number, hasLooked: boolean): Place {
    return new Place(this.#hub.wait(queue, max), hasLooked)
  }

  poke(queue: string, messages: number): void {
    this.#made?.poke(queue, messages)
  }

  /** Of what was made: anybody may ask, and to find it out would open connections. */
  mode(): string | Promise<string> {
    return this.#made?.mode ?? 'not known yet: nobody has waited'
  }
}

/** The place of one who waits. */
export class Place extends RpcTarget {
  readonly #waiter: Waiter
  readonly #left = new AbortController()
  #looksFirst: boolean

  constructor(waiter: Waiter, hasLooked: boolean) {
    super()
    this.#waiter = waiter
    this.#looksFirst = waiter.looksFirst && !hasLooked
  }

  /** As in Waiter; at once for who has not looked yet, if there may be something already. */
  async hint(millis: number): Promise<boolean> {
    if (!this.#looksFirst) return this.#waiter.hint(millis, this.#left.signal)
    this.#looksFirst = false
    return true
  }

  /** As in Waiter; a hint under way ends. */
  leave(found: number): void {
    if (this.#left.signal.aborted) return
    this.#left.abort()
    this.#waiter.leave(found)
  }

  [Symbol.dispose](): void {
    this.leave(0)
  }
}
