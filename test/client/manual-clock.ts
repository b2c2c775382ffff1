/* Time in the hands of a test: it passes only when the test says so. */
import { EventEmitter, once } from 'node:events'

interface Sleeper {
  readonly milliseconds: number
  readonly endsAt: number
  readonly wake: () => void
}

export class ManualClock {
  #now = 0
  readonly #events = new EventEmitter()
  readonly #sleepers = new Set<Sleeper>()

  readonly now = (): number => this.#now

  readonly sleep = (milliseconds: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const sleeper = { milliseconds, endsAt: this.#now + milliseconds, wake: resolve }
      const abort = () => {
        this.#sleepers.delete(sleeper)
        this.#events.emit('change')
        reject(signal.reason)
      }
      if (signal.aborted) return abort()
      this.#sleepers.add(sleeper)
      this.#events.emit('change')
      signal.addEventListener('abort', abort, { once: true })
    })

  /** Resolves when somebody sleeps for so long. */
  sleeper(milliseconds: number): Promise<void> {
    return this.#until(() => this.#count(milliseconds) > 0)
  }

  /** Resolves when one sleeps for so long and no other: where a request may take as long as the pause between two, it has been answered
   * then, and what follows from the answer has happened. */
  async onlySleeper(milliseconds: number): Promise<void> {
    await this.#until(() => this.#count(milliseconds) === 1)
    await new Promise(setImmediate)
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#events, 'change')
  }

  #count(milliseconds: number): number {
    return [...this.#sleepers].filter((sleeper) => sleeper.milliseconds === milliseconds).length
  }

  /** Let time pass: who has slept long enough wakes. */
  pass(milliseconds: number): void {
    this.#now += milliseconds
    for (const sleeper of this.#sleepers) {
      if (sleeper.endsAt > this.#now) continue
      this.#sleepers.delete(sleeper)
      sleeper.wake()
    }
  }
}

/** A sleep that takes no time and says afterwards how long it would have been. Time limits of tries, an hour or more, never end. */
export function hurry(): { readonly waits: number[]; readonly sleep: ManualClock['sleep'] } {
  const waits: number[] = []
  return {
    waits,
    sleep(milliseconds, signal) {
      if (milliseconds >= 3_600_000) {
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
      waits.push(milliseconds)
      return Promise.resolve()
    },
  }
}

/** A sleep that never ends, but for the half second that a stopping consumer gives its last receive: that is over at once. */
export const onlyGrace: ManualClock['sleep'] = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    if (milliseconds === 500) resolve()
    else signal.addEventListener('abort', () => reject(signal.reason))
  })
