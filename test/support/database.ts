/* A database of its own for each test: a copy of a template in which the migrations are installed (made by test/run.ts). */
import { after } from 'node:test'
import pg from 'pg'

export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
  /** A connection of its own, for what a pool would mix up: transactions, sessions, LISTEN. Closed with the database. */
  connect(): Promise<pg.Client>
  /** Close every connection and drop the database. Happens by itself when the test file ends. */
  drop(): Promise<void>
}

const open = new Set<TestDatabase>()
let made = 0

after(async () => {
  for (const database of open) await database.drop()
})

export async function createDatabase(): Promise<TestDatabase> {
  const name = `test_${process.pid}_${++made}`
  await asAdmin((admin) => admin.query(`create database ${name} template ${template()}`))
  const url = serverUrl().replace(/[^/]*$/, name)
  const pool = new pg.Pool({ connectionString: url, idleTimeoutMillis: 1000 })
  const clients: pg.Client[] = []

  const database: TestDatabase = {
    url,
    pool,
    async connect() {
      const client = new pg.Client(url)
      // A test that cuts connections gets an error event too; the test itself sees its query fail.
      client.on('error', () => {})
      await client.connect()
      clients.push(client)
      return client
    },
    async drop() {
      if (!open.delete(database)) return
      await Promise.all(clients.map((client) => client.end().catch(() => {})))
      if (!pool.ended) await pool.end()
      await asAdmin((admin) => admin.query(`drop database ${name} with (force)`))
    },
  }
  pool.on('error', () => {})
  open.add(database)
  return database
}

async function asAdmin(work: (admin: pg.Client) => Promise<unknown>): Promise<void> {
  const admin = new pg.Client(serverUrl())
  await admin.connect()
  try {
    await work(admin)
  } finally {
    await admin.end()
  }
}

function serverUrl(): string {
  return fromRunner('POSTBAG_TEST_SERVER')
}

function template(): string {
  return fromRunner('POSTBAG_TEST_TEMPLATE')
}

function fromRunner(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`Tests with a database are run by test/run.ts: use "npm test -- ${process.argv[1]}".`)
  return value
}
