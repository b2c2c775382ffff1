/* The words of the SQL tests for exchanges. */
import { call, on, type Session } from './sql-verbs.ts'

export interface BindArguments {
  readonly queue?: string
  readonly to_exchange?: string
  readonly routing_key?: string
  readonly headers?: string
  readonly header_match?: string | undefined
  readonly weight?: number
}

export interface PublishOptions {
  readonly routing_key?: string
  readonly headers?: object
  readonly type?: string
  readonly priority?: number
  readonly dedup_id?: string
  readonly group_key?: string
  readonly delay?: string
  readonly mandatory?: boolean
  readonly now?: Date
}

let made = 0

export async function declare(
  session: Session,
  exchange: string,
  args: { readonly type?: string; readonly alternate?: string | undefined; readonly now?: Date } = {},
) {
  return (await call(session, 'declare_exchange', { exchange, ...args }))[0]
}

/** An exchange that no other test of this database uses; its name. */
export async function newExchange(session: Session, type: string, alternate?: string): Promise<string> {
  const exchange = `exchange-${++made}`
  await declare(session, exchange, { type, alternate })
  return exchange
}

/** Whether it changed something. */
export async function bind(session: Session, exchange: string, args: BindArguments): Promise<boolean> {
  return (await call<{ bind: boolean }>(session, 'bind', { exchange, ...args }))[0]?.bind === true
}

/** How many queues it reached. */
export async function publish(
  session: Session,
  exchange: string,
  body: unknown,
  options: PublishOptions = {},
): Promise<number> {
  const args = { exchange, body: JSON.stringify(body), ...options }
  return (await call<{ publish: number }>(session, 'publish', args))[0]?.publish ?? -1
}

/** How many queues each message reached. */
export async function publishBatch(
  session: Session,
  exchange: string,
  messages: unknown,
  more: { readonly mandatory?: boolean; readonly now?: Date; readonly alone?: boolean } = {},
): Promise<number[]> {
  const args = { exchange, messages: JSON.stringify(messages), ...more }
  return (await call<{ queues: number }>(session, 'publish_batch', args)).map(({ queues }) => queues)
}

/** The names of the queues that a message would reach, in the order in which they were made. */
export async function route(
  session: Session,
  exchange: string,
  routingKey: string,
  headers: object = {},
): Promise<string[]> {
  const { rows } = await session.query(
    `select distinct known.name, known.queue_id from postbag.route($1, $2) as way join postbag.queue as known using (queue_id) order by known.queue_id`,
    [exchange, JSON.stringify([{ routingKey, headers }])],
  )
  return rows.map(({ name }) => name)
}

/** How many messages are in each of these queues. */
export async function queuesReached(session: Session, queues: readonly string[]): Promise<number[]> {
  const found = await Promise.all(queues.map((queue) => on(session, queue).peek(1000)))
  return found.map((messages) => messages.length)
}
