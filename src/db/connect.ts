/* Handles to the database: a pool of our own, and the caller's own handle, so that a send joins their transaction. */
import { CompiledQuery } from 'kysely'
import pg from 'pg'
import type { Executor } from './call.ts'
import { cancel } from './cancel.ts'
import { through } from './through.ts'

export type { Executor } from './call.ts'
export { preparing } from './prepare.ts'
export { thawing } from './thaw.ts'

export interface ConnectOptions {
  /** Most connections of the pool, at least 1. Defaults to 10. Too few: requests queue up; too many: Postgres refuses them. */
  readonly maxConnections?: number
  /** How long to wait for a connection before the database counts as away, in milliseconds. Defaults to 5000. */
  readonly connectTimeoutMillis?: number
  /** How long to wait for the answer to a statement before the database counts as away, in milliseconds. The server is then told to end it; whether it
   * was carried out is not known. Defaults to for ever, as a migration may take its time. Too short: a huge queue cannot be purged; too long: so long
   * does a request hang whose connection was lost without a word. */
  readonly answerTimeoutMillis?: number
  /** After how long a connection that nobody uses is closed, in milliseconds; 0: never. Defaults to 10000. */
  readonly idleMillis?: number
}

/** A connection that knows how its server writes times. */
class Client extends pg.Client {
  dateStyle = 'ISO'

  constructor(config?: string | pg.ClientConfig) {
    super(config)
    const { connection } = this as unknown as { readonly connection: pg.Connection }
    connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'DateStyle') this.dateStyle = parameterValue
    })
  }
}

/** pg reads times in one style only; a role or a database may say another. */
async function writeTimesLegibly(client: Client): Promise<void> {
  if (!client.dateStyle.startsWith('ISO')) await client.query('set datestyle to ISO')
}

/** A statement that Postgres refuses leaves its connection as it was. (pg's pool would close it, and a full queue that is sent to would cost
 * a connection each time.) */
class LastingPool extends pg.Pool {
  override async query(...statement: unknown[]): Promise<never> {
    let broken: Error | undefined
    const lose = (error: Error) => {
      broken = error
    }
    const client = await this.#connected(lose)
    try {
      return await (client.query as (...statement: unknown[]) => Promise<never>)(...statement)
    } catch (error) {
      if (!isRefusal(error)) broken = error as Error
      throw error
    } finally {
      const release = () => {
        client.off('error', lose)
        client.release(broken)
      }
      if (isOverdue(broken)) void cancel(client).then(release)
      else release()
    }
  }

  /** A connection that is listened to from its first moment: one that the server ends in it would end the process. */
  #connected(onError: (error: Error) => void): Promise<pg.PoolClient> {
    return new Promise((resolve, reject) => {
      this.connect((error, client) => {
        if (!client) return reject(error)
        client.on('error', onError)
        resolve(client)
      })
    })
  }
}

/** Whether the answer did not come in time, and the statement may still run. */
function isOverdue(error: Error | undefined): boolean {
  return error?.message === 'Query read timeout'
}

/** Whether an error is about what the statement wants, and not about its connection, its session or the server. */
function isRefusal(error: unknown): boolean {
  const { code = '' } = error as { code?: string }
  return /^(PB|P0|0A|2[0123]|40|42|54|55|57014)/.test(code)
}

/** A pool on a connection string: connects with the first call. A connection that breaks is dropped, and the next call makes a new one. */
export function connect(url: string, options: ConnectOptions = {}): pg.Pool {
  const pool = new LastingPool({
    connectionString: url,
    Client,
    onConnect: writeTimesLegibly as (client: pg.ClientBase) => Promise<void>,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMillis ?? 5000,
    idleTimeoutMillis: options.idleMillis ?? 10_000,
    application_name: 'postbag',
    ...(options.answerTimeoutMillis !== undefined && { query_timeout: options.answerTimeoutMillis }),
    // So that a connection that died without a word is noticed (on Workers this does nothing).
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  })
  // Without a listener a lost idle connection would end the process; the pool has already forgotten it.
  pool.on('error', () => {})
  return pool
}

/** A Kysely instance or transaction, as far as we need it. */
export interface KyselyHandle {
  executeQuery<R>(query: CompiledQuery<R>): Promise<{ rows: R[] }>
}

/** What may stand behind Postbag: a `pg` client or pool, anything else with its `query`, or Kysely. */
export type DatabaseHandle = Executor | KyselyHandle

/** Make any of the handles an executor. */
export function executorOf(handle: DatabaseHandle): Executor {
  if (!('executeQuery' in handle)) return handle
  return through((text, values) => handle.executeQuery(CompiledQuery.raw(text, values)))
}
