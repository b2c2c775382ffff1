/* How far a long command is: a line on the terminal that is written over; nothing where standard error is no terminal. */
import { counted, thousands } from './output.ts'

const intervalMillis = 100

export interface Progress {
  update(count: number): void
  /** Say something in between, on a line of its own; also where there is no terminal. */
  note(sentence: string): void
  /** Remove the line. */
  clear(): void
}

export function showProgress(noun: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  const started = performance.now()
  let shownAt = Number.NEGATIVE_INFINITY
  let shown = false

  function clear(): void {
    if (shown) stream.write('\r\u001b[K')
    shown = false
  }

  return {
    update(count) {
      const now = performance.now()
      if (!stream.isTTY || now - shownAt < intervalMillis) return
      clear()
      stream.write(`${counted(count, noun)}, ${rate(count, now - started)}`)
      shownAt = now
      shown = true
    },
    note(sentence) {
      clear()
      stream.write(`${sentence}\n`)
    },
    clear,
  }
}

/** "12,300/s" */
export function rate(count: number, millis: number): string {
  return `${thousands(Math.round((count * 1000) / Math.max(millis, 1)))}/s`
}
