/* What every attempt does, whatever sends it: check the URL and the headers, hold the one deadline, and make an outcome of what
 * comes of it. */
import { QueueError } from '../errors.ts'
import type { AnswerHead, KeptBody } from './answer.ts'
import { type CheckedUrl, checkUrl, type UrlPolicy } from './check-url.ts'
import type { Attempt, AttemptRequest, Failed } from './outcome.ts'
import { checkSendable, sentHeaders } from './request-headers.ts'

/** A request that may be sent. */
export interface Sending {
  readonly url: CheckedUrl
  readonly policy: UrlPolicy
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array<ArrayBuffer>
  readonly timeoutMillis: number
  /** Aborted when the time is over or the caller stops; its reason is an AttemptFailure. */
  readonly signal: AbortSignal
  readonly now: Date
}

export interface Sent {
  readonly head: AnswerHead
  readonly body: KeptBody
  /** The body came to its end. */
  readonly isComplete: boolean
  readonly isResent: boolean
}

/** How what sends says what went wrong. */
export class AttemptFailure extends Error {
  override readonly name = 'AttemptFailure'
  readonly error: Failed['error']
  readonly isResent: boolean

  constructor(error: Failed['error'], detail: string, isResent = false) {
    super(detail.slice(0, 200))
    this.error = error
    this.isResent = isResent
  }
}

/** @param send rejects with an AttemptFailure, or with anything once the signal is aborted, or with what `failureOf` can tell */
export function attemptBy(
  send: (sending: Sending) => Promise<Sent>,
  failureOf: (error: unknown) => AttemptFailure,
): Attempt {
  return async (request) => {
    const started = performance.now()
    const ending = deadlineOf(request)
    const millis = () => Math.round(performance.now() - started)
    try {
      const { head, body, isComplete, isResent } = await send(check(request, ending.signal))
      const { areHeadersCut, ...rest } = head
      const isCut = areHeadersCut || body.isCut || !isComplete
      return { kind: 'answered', ...rest, body: body.text(), isCut, millis: millis(), isResent }
    } catch (thrown) {
      const { signal } = ending
      const failure: AttemptFailure =
        thrown instanceof AttemptFailure ? thrown : signal.aborted ? signal.reason : failureOf(thrown)
      const { error, message, isResent } = failure
      return { kind: 'failed', error, detail: message, millis: millis(), isResent }
    } finally {
      ending.clear()
    }
  }
}

/** @throws AttemptFailure */
function check(request: AttemptRequest, signal: AbortSignal): Sending {
  const { policy, headers, body, timeoutMillis, now = new Date() } = request
  signal.throwIfAborted()
  const url = refusing('refused_address', () => checkUrl(request.url, policy))
  refusing('refused_headers', () => checkSendable(headers))
  return { url, policy, headers: sentHeaders(headers), body, timeoutMillis, signal, now }
}

function refusing<Checked>(error: Failed['error'], verify: () => Checked): Checked {
  try {
    return verify()
  } catch (refusal) {
    throw refusal instanceof QueueError ? new AttemptFailure(error, refusal.message) : refusal
  }
}

function deadlineOf({ timeoutMillis, signal: stop }: AttemptRequest): { signal: AbortSignal; clear(): void } {
  const ending = new AbortController()
  const onStop = () => ending.abort(new AttemptFailure('stopped', 'the attempt was stopped'))
  const onTime = () => ending.abort(new AttemptFailure('timeout', `no answer within ${timeoutMillis} ms`))
  const timer = setTimeout(onTime, timeoutMillis)
  stop?.addEventListener('abort', onStop)
  if (stop?.aborted) onStop()
  return {
    signal: ending.signal,
    clear() {
      clearTimeout(timer)
      stop?.removeEventListener('abort', onStop)
    },
  }
}
