/* The closed list of what can go wrong, the same at every door: SQL raises an errcode 'PB0xx', db/call.ts makes it a QueueError, the
 * HTTP door looks up its status here. A message reads "subject, rule, got". */

/** Code → HTTP status. The code is stable: programs may switch on it. */
export const errorStatus = {
  /** A value is missing, out of range or of the wrong kind, or a field is unknown. Nothing was changed. */
  request_invalid: 400,
  /** The request's body is not JSON. */
  json_invalid: 400,
  /** Not a receipt. */
  receipt_invalid: 400,
  token_missing: 401,
  token_invalid: 401,
  token_expired: 401,
  /** The token is good, but not for this: the message names the scope that is missing. */
  scope_missing: 403,
  queue_not_found: 404,
  exchange_not_found: 404,
  policy_not_found: 404,
  endpoint_not_found: 404,
  /** No such event went to an endpoint, or it is not kept any more. */
  event_not_found: 404,
  /** No such path. */
  route_not_found: 404,
  /** The message of this receipt is not there (any more): acked before, or purged. */
  message_gone: 404,
  /** No message of this id is in the queue (any more). */
  message_not_found: 404,
  /** No reply is awaited under this id or replyTo (any more): its time is over, or it was never asked for. */
  reply_not_found: 404,
  method_not_allowed: 405,
  /** The message was given back or received again since: this receipt owns nothing. */
  lease_lost: 409,
  /** The lease had ended before it was extended. */
  lease_expired: 409,
  /** Somebody has replied to this request before: the first reply stays. */
  already_replied: 409,
  /** The exchange was declared as something else: the message says what differs. */
  exchange_conflict: 409,
  /** Something of that name is there and is not as it is to be imported: the message says what differs. Nothing was imported. */
  import_conflict: 409,
  /** An endpoint takes from the exchange; or it has bindings, and was to be deleted only without. */
  exchange_in_use: 409,
  /** The server has no key to seal the secrets of endpoints with: the message says how to make one. */
  webhooks_not_configured: 409,
  /** A message that must reach a queue reaches none. Nothing was sent. */
  message_unroutable: 422,
  batch_too_large: 413,
  body_too_large: 413,
  request_too_large: 413,
  /** The queue holds as much as it may. Nothing was sent; try again when consumers have made room. */
  queue_full: 429,
  /** Something unexpected; the request id finds it in the log. */
  internal: 500,
  /** The database cannot be reached, or is not ready. Try again. */
  database_unavailable: 503,
  /** The server is stopping. Try again: another instance answers. */
  server_stopping: 503,
  /** The database has not been migrated, or by a newer or different Postbag. */
  schema_mismatch: 500,
  /** Nobody has replied in the time that was given (client side only). */
  reply_overdue: 504,
  /** The server could not be reached (client side only: no server sends it). */
  network_error: 503,
} as const

export type ErrorCode = keyof typeof errorStatus

/** An error of Postbag: `code` is for programs, `message` for people. */
export class QueueError extends Error {
  override readonly name = 'QueueError'
  readonly code: ErrorCode
  /** Seconds after which a new try makes sense, where known. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** Whether a code, from wherever it came, is one of ours. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorStatus, code)
}

/** What is wrong with a database that is away, for its operator: what it said itself, too, which answers keep back where it has names in it. */
export function fullReason({ code, message, cause }: QueueError): string {
  const isToldApart = code === 'database_unavailable' && cause instanceof Error && !message.includes(cause.message)
  return isToldApart ? `${message}: ${cause.message}` : message
}

/** What Postgres says of values, and who raises an exception in SQL: the message quotes what was given, so perhaps a message's body. */
const quoting = /^(22|23|P0)\w{3}$/

/** What a log may say of an error: where it came about, and what it says unless that may quote what was sent. (Printed as an object, an error
 * of Postgres would bring the row, the values and the whole call stack of PL/pgSQL.) Of ours the code, but of a database that is away all. */
export function errorForLog(error: unknown): string {
  if (error instanceof QueueError && error.code !== 'database_unavailable') return error.code
  if (!(error instanceof Error)) return String(error)
  const { code = '', message, stack = message } = error as Error & { readonly code?: string }
  if (error instanceof QueueError) return stack.replace(message, () => fullReason(error))
  return quoting.test(code) ? stack.replace(message, `SQLSTATE ${code}`) : stack
}
