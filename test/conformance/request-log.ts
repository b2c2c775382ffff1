/* The server's log, as cases read it: one JSON object per request. */

import { until } from '../support/until.ts'
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

/** The line of the request with this id, once it is there. */
export function lineOf(target: Target, requestId: string): Promise<LogLine> {
  return until(`the log of ${requestId}`, async () => linesOf(target, requestId)[0])
}

export function linesOf(target: Target, requestId: string): readonly LogLine[] {
  return target.log.filter((line) => line.includes(`"${requestId}"`)).map((line) => JSON.parse(line) as LogLine)
}
