/* Patience with a server that is away: one that was there is tried again for long, and the person is told; one that never answered is
 * given up soon, because then the address is probably wrong. */
import type { Patience } from '../client/connection.ts'
import { sentenceOf } from './exit.ts'

const triesAtFirst = 3

export interface LongPatience extends Patience {
  /** To be called after every answer. */
  answered(): void
}

/** @param mostTries of one request; the pauses between them are up to 0.1, 0.2, 0.4 … 10 s
 * @param stopping ends the trying */
export function longPatience(
  mostTries: number,
  stopping: AbortSignal,
  note: (sentence: string) => void = console.error,
): LongPatience {
  let reached = false
  let away = false
  return {
    retry(error, tries) {
      if (!reached) return tries <= triesAtFirst
      if (!away) note(`${sentenceOf(error)}: trying again…`)
      away = true
      return !stopping.aborted && tries < mostTries
    },
    answered() {
      reached = true
      if (away) note('It is back.')
      away = false
    },
  }
}
