/* Errors as answers: RFC 9457 problem details with a stable code. */
import { asUndone } from '../db/call.ts'
import { errorStatus, QueueError } from '../errors.ts'
import type { Problem } from '../wire.ts'

/** What is said of an error. Anything that is not a QueueError stays inside: it may hold what is nobody's business. */
export function problemOf(error: unknown, requestId: string | undefined): Problem {
  const { code, message: detail } =
    error instanceof QueueError
      ? error
      : (asUndone(error) ?? new QueueError('internal', 'something went wrong here; the request id finds it in the log'))
  return {
    type: 'about:blank',
    title: code.replaceAll('_', ' '),
    status: errorStatus[code],
    detail,
    code,
    ...(requestId !== undefined && { requestId }),
  }
}

/** The answer to a request that failed. */
export function problemResponse(
  error: unknown,
  requestId: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const problem = problemOf(error, requestId)
  const { status } = problem
  const { retryAfterSeconds = 1 } = error instanceof QueueError ? error : {}
  return new Response(JSON.stringify(problem), {
    status,
    headers: {
      ...headers,
      'content-type': 'application/problem+json',
      ...(requestId !== undefined && { 'x-request-id': requestId }),
      ...((status === 429 || status === 503) && { 'retry-after': String(retryAfterSeconds) }),
      ...(status === 401 && { 'www-authenticate': 'Bearer' }),
    },
  })
}

/** The answer to every request of a function that lacks a setting. (What is missing is no secret, unlike what it would be.) */
export function notConfigured(error: unknown): Response {
  return problemResponse(new QueueError('internal', error instanceof Error ? error.message : String(error)), undefined)
}
