/* Queues that are used by SQL, each from connections of its own.
 *
 * The load generator shares the machine with Postgres, so it is kept light, and equally light for every contender: parameters are
 * strings that are made once where they can be, and no value of a row is parsed. */
import pg from 'pg'
import { type Measured, type MeasureOptions, measure } from '../measure.ts'

/** One client of a contender; `batch` is what each of its rounds moves. */
interface Session {
  /** How many messages it moved. */
  round(): Promise<number>
  /** Leave nothing half done. */
  finish?(): Promise<void>
}

export interface SqlContender {
  readonly name: string
  open(client: pg.Client, batch: number): Session
}

export interface Load extends MeasureOptions {
  readonly connections: number
  readonly batch: number
}

/** How a part of a scenario is called. */
export function loadOf(batch: number, connections: number): string {
  return `batch ${batch}, ${connections} connection${connections > 1 ? 's' : ''}`
}

/** What so many connections of a contender do side by side. */
export async function measureSql(
  databaseUrl: string,
  contender: SqlContender,
  { connections, batch, ...options }: Load,
): Promise<Measured> {
  const clients = await connectAll(databaseUrl, connections)
  try {
    const sessions = clients.map((client) => contender.open(client, batch))
    const measured = await measure(
      sessions.map((session) => () => session.round()),
      options,
    )
    for (const session of sessions) await session.finish?.()
    return measured
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

/** Connections that leave every value the text it came as. */
export async function connectAll(databaseUrl: string, connections: number): Promise<pg.Client[]> {
  const asText = { getTypeParser: () => (value: unknown) => value }
  const clients = Array.from(
    { length: connections },
    () => new pg.Client({ connectionString: databaseUrl, types: asText as unknown as pg.CustomTypesConfig }),
  )
  await Promise.all(clients.map((client) => client.connect()))
  return clients
}

/** A JSON object of so many bytes, that compression does nothing for. */
export function bodyOf(bytes: number): string {
  const filling = Array.from({ length: bytes - 37 }, () => Math.floor(Math.random() * 36).toString(36)).join('')
  return JSON.stringify({ event: 'order.created', filling })
}

/** What is sent where nothing else is said: 200 bytes. */
export const body = bodyOf(200)

/** Rows as arrays, of a statement that each connection prepares once. */
export function prepared(name: string, text: string) {
  return (client: pg.Client, values: unknown[]): Promise<pg.QueryArrayResult<string[]>> =>
    client.query({ name, text, values, rowMode: 'array' })
}

/** The same, parsed and planned anew each time. */
export function unnamed(text: string) {
  return (client: pg.Client, values: unknown[]): Promise<pg.QueryArrayResult<string[]>> =>
    client.query({ text, values, rowMode: 'array' })
}
