/* The server's log, as cases read it: one JSON object per request. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Target } from './target.ts'

export interface LogLine {
  readonly time: string
  readonly level: string
  readonly requestId: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly millis: number
  readonly error?: string
}

/** The line of the request with this id, once it is there: at the latest 15 s from now. */
export async function lineOf(target: Target, requestId: string): Promise<LogLine> {
  for (const end = performance.now() + 15_000; performance.now() < end; await sleep(10)) {
    const [line] = linesOf(target, requestId)
    if (line) return line
  }
  throw new Error(`nothing was logged of the request ${requestId}`)
}

export function linesOf(target: Target, requestId: string): readonly LogLine[] {
  return target.log.filter((line) => line.includes(`"${requestId}"`)).map((line) => JSON.parse(line) as LogLine)
}
