/* Errors as answers: RFC 9457 problem details with a stable code. */
import { errorStatus, QueueError } from '../errors.ts'
import type { Problem } from '../wire.ts'

/** The answer to a request that failed. Anything that is not a QueueError stays inside: it may hold what is nobody's business. */
export function problemResponse(
  error: unknown,
  requestId: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const known =
    error instanceof QueueError
      ? error
      : new QueueError('internal', 'something went wrong here; the request id finds it in the log')
  const status = errorStatus[known.code]
  const problem: Problem = {
    type: 'about:blank',
    title: known.code.replaceAll('_', ' '),
    status,
    detail: known.message,
    code: known.code,
    ...(requestId !== undefined && { requestId }),
  }
  return new Response(JSON.stringify(problem), {
    status,
    headers: {
      ...headers,
      'content-type': 'application/problem+json',
      ...(requestId !== undefined && { 'x-request-id': requestId }),
      ...((status === 429 || status === 503) && { 'retry-after': String(known.retryAfterSeconds ?? 1) }),
      ...(status === 401 && { 'www-authenticate': 'Bearer' }),
    },
  })
}
