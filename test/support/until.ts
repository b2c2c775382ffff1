/* Waiting for a sign from outside the process. */
import { setTimeout as sleep } from 'node:timers/promises'

const longestMillis = 15_000

/** What `look` finds, once it finds something. Throws after 15 s, with the name of what did not come. */
export async function until<Found>(what: string, look: () => Promise<Found | undefined>): Promise<Found> {
  for (const end = performance.now() + longestMillis; performance.now() < end; await sleep(5)) {
    const found = await look()
    if (found !== undefined) return found
  }
  throw new Error(`waited ${longestMillis} ms in vain for ${what}`)
}
