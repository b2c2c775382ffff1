/* Postbag without a server: for workers that have the database at hand. All of it is in their process, and a client's requests come by a call:
 *
 *   const local = openLocal({ databaseUrl })
 *   const orders = createClient(local).queue('orders')
 *
 * What a request is checked for, and how it is answered, is the same as at a door; but it needs no token, and nothing listens. */
import type { Log } from '../src/app.ts'
import { createProcess, type ProcessOptions } from '../src/process.ts'

export interface LocalOptions extends Omit<ProcessOptions, 'access' | 'basePath' | 'attempt' | 'keepAwake'> {}

export interface Local {
  /** An address for requests to begin with: they go nowhere. */
  readonly url: string
  /** Answers a request. Aborting its signal rejects at once; what a receive leases in that moment is given back. */
  readonly fetch: (url: string, init?: RequestInit) => Promise<Response>
  /** Answer waiting receives, finish what runs, close the connections. From then on every request is refused, acks too, so stop consumers
   * before (by their signal); one that still runs ends with an error. */
  stop(): Promise<void>
}

/** Open it: nothing is asked of the database before a request needs it, but whether it can LISTEN. Logs errors, unless it is given a log, and
 * delivers no webhooks. Stop it before the program ends, or it does not end. */
export function openLocal({ log = logErrors, ...options }: LocalOptions): Local {
  const live = createProcess({ ...options, log, access: { kind: 'open' } })
  const running = new Set<Promise<unknown>>()
  let stopped = false

  return {
    url: 'http://localhost',
    async fetch(url, init = {}) {
      const { signal } = init
      signal?.throwIfAborted()
      if (stopped) return refuse()
      const answer = Promise.resolve(live.fetch(new Request(url, withLength(init))))
      const done = answer.finally(() => running.delete(done)).catch(() => {})
      running.add(done)
      if (!signal) return answer
      const aborted = Promise.withResolvers<never>()
      const abort = () => aborted.reject(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      return Promise.race([answer, aborted.promise]).finally(() => signal.removeEventListener('abort', abort))
    },
    stop() {
      stopped = true
      return live.stop(() => Promise.all(running))
    },
  }
}

function logErrors(line: Parameters<Log>[0]): void {
  if (line['level'] === 'error') console.error(JSON.stringify(line))
}

/** No other server will answer: to come again, as where one is stopping, would be in vain for ever. */
function refuse(): Response {
  const detail = 'what openLocal returned must be in use, and was stopped: stop its consumers first'
  return Response.json({ code: 'request_invalid', detail }, { status: 400 })
}

/** As a client over the network does: who says how long a body is has it not counted. */
function withLength(init: RequestInit): RequestInit {
  if (typeof init.body !== 'string') return init
  const headers = new Headers(init.headers)
  headers.set('content-length', String(new TextEncoder().encode(init.body).length))
  return { ...init, headers }
}
