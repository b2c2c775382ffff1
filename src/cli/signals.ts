/* Stopping in order. */
import { exitCodes } from './exit.ts'

/** One Ctrl-C may arrive twice: from the terminal, and passed on by npm or npx. */
const sameMillis = 500

/** Aborts at the first Ctrl-C, SIGTERM or SIGHUP; the next one ends the process at once. */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController()
  let first = Number.POSITIVE_INFINITY
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (performance.now() - first > sameMillis) process.exit(exitCodes.interrupted)
      first = Math.min(first, performance.now())
      stopping.abort()
    })
  }
  return stopping.signal
}

/** Aborts so many milliseconds after the signal did. */
export function after(signal: AbortSignal, millis: number): AbortSignal {
  const late = new AbortController()
  signal.addEventListener('abort', () => setTimeout(() => late.abort(), millis).unref())
  return late.signal
}
