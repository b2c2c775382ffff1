/* Ending a statement whose answer nobody waits for any more. To close its connection does not: Postgres notices that only when it has something to
 * say, and until then a statement that waits for a lock takes a place, and when it gets the lock leases messages to nobody.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS */
import pg from 'pg'

/** What `pg` has and its types do not tell of. */
interface Cancelable {
  readonly host: string
  readonly port: number
  readonly ssl: pg.ConnectionConfig['ssl']
  readonly processID: number | null
  readonly secretKey: number | null
}
interface Canceling extends pg.Connection {
  connect(portOrPath: number | string, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
}

/** After that the server cannot be reached for this either, in milliseconds. */
const longestMillis = 1000

/** Ask the server, over a connection of its own, to end what a connection is doing. Resolves when it has been asked, or cannot be. */
export async function cancel(client: pg.ClientBase): Promise<void> {
  const { host, port, ssl, processID, secretKey } = client as unknown as Cancelable
  if (processID === null || secretKey === null) return
  const connection = new pg.Connection(ssl ? { ssl } : {}) as Canceling
  const ended = Promise.withResolvers<void>()
  const ask = () => connection.cancel(processID, secretKey)
  connection.on('connect', () => (ssl ? connection.requestSsl() : ask()))
  connection.on('sslconnect', ask)
  // (The server answers by closing it.)
  connection.on('error', () => ended.resolve())
  connection.on('end', () => ended.resolve())
  const timer = setTimeout(ended.resolve, longestMillis)
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
  else connection.connect(port, host)
  await ended.promise
  clearTimeout(timer)
  connection.stream.destroy()
}
