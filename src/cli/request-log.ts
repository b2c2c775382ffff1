/* The request log of "postbag dev": JSON for machines, and for a person at a terminal a short line per failure, or per request. */
import type { Log } from '../app.ts'

export function requestLog(output: NodeJS.WriteStream, verbose: boolean): Log {
  if (!output.isTTY) return (line) => output.write(`${JSON.stringify(line)}\n`)
  return (line) => {
    if (verbose || line['level'] === 'error') output.write(`${forPeople(line)}\n`)
  }
}

/** 12:03:11  201  POST /v1/queues/hello/messages  3 ms */
function forPeople({ time, status, method, path, millis, error, reason = error, wakeUp }: Parameters<Log>[0]): string {
  // As Swedes write it: 12:03:11, in the local time zone.
  if (wakeUp !== undefined) return `${new Date(String(time)).toLocaleTimeString('sv')}  waiting receives: ${wakeUp}`
  const request = `${new Date(String(time)).toLocaleTimeString('sv')}  ${status}  ${method} ${path}  ${millis} ms`
  return reason === undefined ? request : `${request}  ${reason}`
}
