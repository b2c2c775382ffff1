/* One call to the server: tries, time limits, aborting, and what an answer means.
 *
 *  1. A try that got no answer in time, or one of 500 or above, is made again after a backoff, as often as `retries` says. Every call is
 *     safe to repeat; where a repeated one is answered differently than the first would have been, the caller is told how many tries it
 *     took (see send.ts and settle.ts).
 *  2. Aborting the caller's signal ends a call wherever it stands, with the signal's reason.
 *  3. Whatever else goes wrong is a QueueError. Its `cause` is the server's problem document, or the error of fetch or of the
 *     caller's token function: a token that cannot be had is a server that cannot be reached. */
import { type ErrorCode, errorStatus, isErrorCode, QueueError } from '../errors.ts'
import type { Problem } from '../wire.ts'
import { backoffMilliseconds } from './backoff.ts'
import { mustBeBetween } from './bounds.ts'
import { type Effects, type Given, platform } from './effects.ts'
import { errorText } from './message.ts'

export interface ClientOptions extends Given<Effects> {
  /** Where the server is, such as "https://postbag.example.com"; a path in it comes before /v1. No user, query or fragment. */
  readonly url: string
  /** Sent as the bearer token. A function is asked before each try: for tokens that expire while a consumer runs. What it
   * throws counts as a network error; a QueueError stays as it is, so that with `token_invalid` no more tries are made. */
  readonly token?: string | (() => string | Promise<string>) | undefined
  /** How often a call is tried again after a network error or a 5xx, 0 or more. Defaults to 3, which takes up to 0.7 s (and what the
   * server asks for) and spares callers a restart of a database connection. With 0 sends carry no dedup ids of the client, which
   * saves the server a row per message. */
  readonly retries?: number | undefined
  /** How long one try may take, in seconds, 0.001 – 86400, with its token, besides the wait of a receive. Defaults to 30. Too short: large
   * batches never arrive. */
  readonly timeoutSeconds?: number | undefined
}

export interface CallOptions {
  /** Aborting it ends the call at once, with its reason. What the server was doing may still happen. */
  readonly signal?: AbortSignal | undefined
}

/** What a consumer sets beyond what its caller may. */
export interface Patience extends CallOptions {
  readonly timeoutSeconds?: number
  /** Whether to try again after this failure. */
  readonly retry?: (error: QueueError, tries: number) => boolean
}

export interface Answer<Data> {
  readonly data: Data
  /** 1 if the first try was answered. */
  readonly tries: number
}

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE'

export interface Connection {
  readonly effects: Effects
  readonly retries: number
  readonly timeoutSeconds: number
  /** @param path what follows /v1 */
  call<Data>(method: Method, path: string, body?: unknown, patience?: Patience): Promise<Answer<Data>>
}

/** Whether the same call may succeed later. */
export function isPassing(error: unknown): error is QueueError {
  return error instanceof QueueError && errorStatus[error.code] >= 500
}

export function connect(options: ClientOptions): Connection {
  const { token, retries = 3, timeoutSeconds = 30 } = options
  const { fetch = platform.fetch, sleep = platform.sleep, random = platform.random, now = platform.now } = options
  if (!/^https?:\/\/(?!\/|[^/]*@)[^?#\s]+$/i.test(options.url)) {
    throw new QueueError('request_invalid', `url must be http(s)://host/path, got ${options.url}`)
  }
  mustBeBetween('timeoutSeconds', timeoutSeconds, 0.001, 86_400)
  const base = `${options.url.replace(/\/+$/, '')}/v1`
  return { effects: { fetch, sleep, random, now }, retries, timeoutSeconds, call }

  async function call<Data>(
    method: Method,
    path: string,
    body?: unknown,
    patience: Patience = {},
  ): Promise<Answer<Data>> {
    const { signal = new AbortController().signal, retry = (_, tries) => tries <= retries } = patience
    const seconds = patience.timeoutSeconds ?? timeoutSeconds
    const text = JSON.stringify(body) ?? null
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted()
      try {
        return { data: (await attempt(method, base + path, text, signal, seconds)) as Data, tries }
      } catch (error) {
        signal.throwIfAborted()
        if (!isPassing(error) || !retry(error, tries)) throw error
        await sleep(backoffMilliseconds(tries, error.retryAfterSeconds ?? 0, random), signal)
      }
    }
  }

  async function attempt(
    method: Method,
    url: string,
    body: string | null,
    signal: AbortSignal,
    seconds: number,
  ): Promise<unknown> {
    let asked = 'the token function'
    const over = new AbortController()
    const answered = new AbortController()
    const abort = () => over.abort(signal.reason)
    signal.addEventListener('abort', abort)
    sleep(seconds * 1000, answered.signal).then(
      () => over.abort(`no answer within ${seconds} s`),
      () => {},
    )
    try {
      const bearer = (typeof token === 'function' ? await inTime(token, over.signal) : token)?.trim()
      // (Never shown, as fetch would show it; and no later try would go better.)
      if (bearer && !/^[!-~]+$/.test(bearer)) {
        throw new QueueError('token_invalid', 'the token must be visible ASCII without spaces, got something else')
      }
      asked = url
      const headers = {
        ...(bearer && { authorization: `Bearer ${bearer}` }),
        ...(body !== null && { 'content-type': 'application/json' }),
      }
      const response = await fetch(url, { method, headers, body, signal: over.signal })
      return read(response, await response.text(), url)
    } catch (cause) {
      if (cause instanceof QueueError) throw cause
      throw new QueueError('network_error', `${asked} must answer, got ${errorText(cause)}`, { cause })
    } finally {
      // (Aborting the request, too, would do nothing, and costs more than to send it.)
      answered.abort('')
      signal.removeEventListener('abort', abort)
    }
  }
}

/** What it gives, unless the signal aborts first. */
function inTime<Value>(give: () => Value, over: AbortSignal): Promise<Awaited<Value>> {
  const ended = new Promise<never>((_, reject) => over.addEventListener('abort', () => reject(over.reason)))
  return Promise.race([ended, give()])
}

/** The JSON of a good answer; anything else is thrown. */
function read({ ok, status, headers }: Response, text: string, url: string): unknown {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {}
  if (ok && data !== undefined) return data

  const problem = (data ?? {}) as Partial<Problem>
  const retryAfterSeconds = Number(headers.get('retry-after')) || 0
  const inLog = status >= 500 && problem.requestId ? ` (request ${problem.requestId})` : ''
  const message = problem.code
    ? problem.detail + inLog
    : `${url} must be Postbag, got ${status} ${headers.get('content-type')}`
  throw new QueueError(codeOf(problem.code, status), message, {
    cause: data ?? text,
    ...(retryAfterSeconds > 0 && { retryAfterSeconds }),
  })
}

/** An answer without a code of ours comes from a proxy in between or a wrong url, or from a newer server. */
function codeOf(code: unknown, status: number): ErrorCode {
  if (isErrorCode(code)) return code
  const passing = status >= 500 || status === 408 || status === 429
  if (code) return passing ? 'internal' : 'request_invalid'
  return passing ? 'network_error' : 'route_not_found'
}
