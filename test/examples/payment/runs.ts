/* A warm process that runs consumers one after the other, each anew from its first line: so that a run costs no start of a process. At the
 * wanted step it stands still, with all its connections, until the test has done what it wants to do to them. */
import { readSync, writeSync } from 'node:fs'
import { stopAt } from './steps.ts'

export interface Run {
  /** The consumer's module. */
  readonly url: string
  /** The step to stand still at (from 1); 0: none. */
  readonly step: number
}

export interface Ran {
  /** Where it stood still. */
  readonly stoppedAt?: string | undefined
  readonly error?: string | undefined
}

/** A pipe to the test and back, whose reads block. */
const gate = 3
let runs = 0

// A connection that is cut while nobody asks it: alone in its process, the consumer would have ended here.
process.on('uncaughtException', () => {})
process.on('message', async ({ url, step }: Run) => {
  let stoppedAt: string | undefined
  stopAt(step, (at) => {
    stoppedAt = at
    writeSync(gate, '.')
    readSync(gate, Buffer.alloc(1))
  })
  const error = await import(`${url}?run=${++runs}`).then(
    () => undefined,
    (reason) => String(reason),
  )
  process.send?.({ stoppedAt, error } satisfies Ran)
})
