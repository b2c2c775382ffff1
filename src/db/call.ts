/* One call of one SQL function, over whatever handle the caller has, with the database's errors made ours.
 *
 * What is not ours to explain (a serialization failure in the caller's own transaction, say) passes through unchanged. */
import { type ErrorCode, QueueError } from '../errors.ts'

/** What can run a statement: a `pg` client or pool as it is, and Kysely through db/connect.ts. */
export interface Executor {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[] }>
  /** Where calls of several callers may become one statement (queue/coalesce.ts). */
  callList?(call: ListCall): Promise<unknown[]>
}

/** A call of a function that takes a list and returns a row per element, in their order, and so may take several callers' lists at once. */
export interface ListCall {
  /** Its parameters: the queue, the list (a JSON array), `values`, and `patience`. */
  readonly text: string
  readonly queue: string
  /** JSON texts. */
  readonly elements: readonly string[]
  readonly values: readonly unknown[]
  /** How long it may wait for a lock, as Postgres writes it; then it is refused. Defaults to what the session says. */
  readonly patience?: string
}

/** SQL: true, and no lock is waited for any longer than the parameter says. For a statement that is the whole transaction. */
export function withPatience(parameter: string): string {
  return `set_config('lock_timeout', coalesce(${parameter}, current_setting('lock_timeout')), true) is not null`
}

/** A condition that always holds, for statements that have no time as an argument: a cache in between (Hyperdrive's, which judges by the
 * text) would else take a call of our functions for a read that may be answered from memory. */
export const neverCached = 'clock_timestamp() is not null'

/** Run a statement; its rows, or a QueueError. */
export async function call<Row>(executor: Executor, text: string, values: unknown[]): Promise<Row[]> {
  try {
    const { rows } = await executor.query(text, values)
    return rows as Row[]
  } catch (error) {
    throw asQueueError(error)
  }
}

/** Like call, for a list: joined with the lists of others where the executor does that. */
export async function callList<Row>(executor: Executor, list: ListCall): Promise<Row[]> {
  try {
    return (await (executor.callList?.(list) ?? runList(executor, list))) as Row[]
  } catch (error) {
    throw asQueueError(error)
  }
}

/** The rows of a list call that runs as it is. */
export async function runList(
  executor: Executor,
  { text, queue, elements, values, patience }: ListCall,
): Promise<unknown[]> {
  return (await executor.query(text, [queue, `[${elements.join(',')}]`, ...values, patience])).rows
}

/** Like call, for a function that returns exactly one row. */
export async function callOne<Row>(executor: Executor, text: string, values: unknown[]): Promise<Row> {
  const [row] = await call<Row>(executor, text, values)
  if (row === undefined) throw new QueueError('internal', `no row came back from: ${text}`)
  return row
}

/** The errcodes that our SQL functions raise. */
const ownCodes: Readonly<Record<string, ErrorCode>> = {
  PB001: 'queue_not_found',
  PB002: 'request_invalid',
  PB003: 'batch_too_large',
  PB004: 'queue_full',
  PB005: 'message_not_found',
  PB006: 'reply_not_found',
  PB009: 'policy_not_found',
  PB010: 'exchange_not_found',
  PB011: 'exchange_conflict',
  PB012: 'exchange_in_use',
  PB013: 'message_unroutable',
  PB014: 'endpoint_not_found',
  PB015: 'event_not_found',
  PB020: 'import_conflict',
}

/** A value that Postgres could not read as what a parameter is, that is null where it must not be, or too deep or large for it. */
const invalidValue = /^(22\w{3}|23502|54\w{3})$/

/** The server is away, starting, stopping, full, takes no writes (25006: so after a failover, or for want of room), or the connection to it
 * broke or was ended for its age, or its name has no address for the moment (EAI_AGAIN). (58: how Hyperdrive reports its own trouble.) */
const unavailable = /^(08\w{3}|25P0[34]|25006|57P0[1-5]|53\w{3}|58\w{3}|E(AI_)?[A-Z]+)$/

/** Whether the session ended with it, whatever came of its last statement. */
export function isFatal(error: object): boolean {
  return 'severity' in error && /^(FATAL|PANIC)$/.test(String(error.severity))
}

/** It lets this server not in: mended by its operator, and meanwhile nothing else than if it were away. Postgres's own text names the role or the
 * database, so it is for the operator only (errors.ts: fullReason). */
const closed: Readonly<Record<string, string>> = {
  '28P01': "the database refuses this server's login",
  28000: "the database refuses this server's login",
  '3D000': 'there is no such database',
}

/** No schema, no function, no table: not migrated, or not by this version. */
const notInstalled = /^(3F000|42883|42P01)$/

/** What a driver's error means to us; itself if that is nothing. */
export function asQueueError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof QueueError) return error
  // (postgres.js has another name for the constraint.)
  const {
    code = '',
    constraint_name = '',
    constraint = constraint_name,
  } = error as Error & { code?: string; constraint?: string; constraint_name?: string }

  const own = ownCodes[code]
  if (own) return new QueueError(own, error.message, own === 'queue_full' ? { retryAfterSeconds: 1 } : {})
  if (code === '23514') return brokenRule(constraint, error)
  if (invalidValue.test(code)) return new QueueError('request_invalid', error.message, { cause: error })
  if (notInstalled.test(code) && /postbag/.test(error.message)) {
    return new QueueError('schema_mismatch', 'the database has no Postbag, or an older one: run "postbag migrate"', {
      cause: error,
    })
  }
  const why = closed[code]
  if (why) return new QueueError('database_unavailable', why, { cause: error, retryAfterSeconds: 1 })
  // (XX000: of a session that it lost, a pooler has nothing better to say.)
  if (unavailable.test(code) || isBrokenConnection(error) || (isFatal(error) && code.startsWith('XX'))) {
    const what = code === '25006' ? 'takes no writes' : 'cannot be reached'
    return new QueueError('database_unavailable', `the database ${what}: ${error.message || code}`, {
      cause: error,
      retryAfterSeconds: 1,
    })
  }
  // (So pg says it.)
  if (error.message.endsWith('client password must be a string')) {
    return new Error('the database asks for a password, and its connection string (DATABASE_URL) has none', {
      cause: error,
    })
  }
  return error
}

/** Why Postgres undid a transaction that may go well the next time: a serialization failure, a deadlock, or a time that the database allows. */
const undone: Readonly<Record<string, string>> = {
  40001: 'something else was in the way at the same time',
  '40P01': 'something else was in the way at the same time',
  '55P03': 'it waited for a lock for longer than the database allows (lock_timeout)',
  57014: 'the database ended it before it was done (statement_timeout)',
}

/** An error that says that Postgres undid a transaction for no fault of its own, for who knows that the statement was all of it; undefined for any
 * other. (Inside a transaction of the caller's it passes through: the caller has to begin that again.) */
export function asUndone(error: unknown): QueueError | undefined {
  const why = undone[(error as { code?: string }).code ?? '']
  if (!why) return undefined
  return new QueueError('database_unavailable', `${why}: nothing was changed, try again`, {
    cause: error,
    retryAfterSeconds: 1,
  })
}

/** Constraints are named as rules, so the name is the explanation. Details of the row stay out: they hold the body. */
function brokenRule(constraint: string, cause: Error): QueueError {
  const code = constraint === 'message_body_is_at_most_1_mib' ? 'body_too_large' : 'request_invalid'
  return new QueueError(code, `refused by the rule: ${constraint.replaceAll('_', ' ')}`, { cause })
}

/** pg and workerd say these without a code; several failed addresses come as one error with the real ones inside. */
function isBrokenConnection(error: Error): boolean {
  if (error instanceof AggregateError) return error.errors.every((inner) => asQueueError(inner) instanceof QueueError)
  return /^(Connection terminated|timeout (exceeded )?when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed|proxy request failed|Network connection lost|connection attempt failed)/i.test(
    error.message,
  )
}
