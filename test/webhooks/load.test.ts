/* Webhooks under load: deliverers that are processes of their own are killed, and so is the database, while transactions publish, or roll back.
 * What the receivers noted is compared with what was committed. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { type Embedded, startEmbedded } from '../../src/db/embedded.ts'
import { install } from '../../src/db/install.ts'
import { createDatabase } from '../support/database.ts'
import { scratchFolder } from '../support/server.ts'
import { publishBatch } from '../support/sql-exchanges.ts'
import { until } from '../support/until.ts'
import { createDeliverers } from './deliverer-processes.ts'
import { type Arrival, createLoad, eventOf, owed, seeded, waiting } from './load.ts'

const keys = randomBytes(32).toString('base64')

/** What became of published events: `unknown` were being committed when the connection broke. */
interface Published {
  readonly committed: Set<number>
  readonly undone: Set<number>
  readonly unknown: Set<number>
}

/** Publish events in transactions, of which one in five is rolled back, whatever becomes of the database meanwhile. */
async function publish(
  url: string,
  numbers: readonly number[],
  { committed, undone, unknown }: Published,
): Promise<void> {
  const random = seeded(numbers[0] ?? 0)
  let client = await connected(url)
  for (const n of numbers) {
    let isCommitting = false
    try {
      await client.query('begin')
      await publishBatch(client, 'events', [eventOf(n)])
      isCommitting = random() > 0.2
      await client.query(isCommitting ? 'commit' : 'rollback')
      if (isCommitting) committed.add(n)
      else undone.add(n)
    } catch {
      if (isCommitting) unknown.add(n)
      else undone.add(n)
      client = await connected(url)
    }
  }
  await client.end()
}

/** As soon as the database is there. */
function connected(url: string): Promise<pg.Client> {
  return until('the database', async () => {
    const client = new pg.Client(url)
    client.on('error', () => {})
    return client.connect().then(
      () => client,
      () => undefined,
    )
  })
}

/** As its processes are killed: those that serve, too, as they would end by themselves only when they notice. */
async function killDatabase(server: Embedded, pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ pid: number }>('select pid from pg_stat_activity')
  for (const pid of [server.pid, ...rows.map((row) => row.pid)]) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
    }
  }
  await server.ended
}

/** No id stands for two events, no event has two ids. */
function assertIdsFit(arrivals: readonly Arrival[]): void {
  const numbers = new Set(arrivals.map(({ n }) => n)).size
  assert.equal(new Set(arrivals.map(({ id }) => id)).size, numbers)
  assert.equal(new Set(arrivals.map(({ n, id }) => `${n} ${id}`)).size, numbers)
}

const except = (some: readonly string[], others: Iterable<string>) => {
  const known = new Set(others)
  return some.filter((one) => !known.has(one))
}

test('whatever is killed, all that was committed arrives wherever it is to go, signed, and nothing else does', async (t: TestContext) => {
  const dataDir = await scratchFolder()
  const launch = (port?: number) => startEmbedded({ dataDir, settings: { fsync: 'off' }, ...(port && { port }) })
  let server = await launch()
  const { url } = server
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {})
  await install(pool)
  const load = await createLoad(pool, keys, true, { timeout: '1 s' })
  // (Leases of 46 s end after 2.3 s.)
  const deliverers = createDeliverers({ databaseUrl: url, keys, began: Date.now(), speed: 20 })
  t.after(async () => {
    await deliverers.kill()
    await load.stop()
    await pool.end()
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  await deliverers.start(2)
  const published: Published = { committed: new Set(), undone: new Set(), unknown: new Set() }
  /** Something happens while events are published and delivered. */
  const amidst = async (from: number, happens: () => Promise<void>) => {
    const [came, known] = [load.arrivals.length, published.committed.size]
    const range = (start: number) => Array.from({ length: 27 }, (_, index) => start + index)
    const publishing = [0, 27, 54].map((more) => publish(url, range(from + more), published))
    await until('some events', async () => published.committed.size >= known + 15 || undefined)
    await until('some arrivals', async () => load.arrivals.length >= came + 15 || undefined)
    await happens()
    await Promise.all(publishing)
  }
  const again = async () => {
    server = await launch(Number(new URL(url).port))
  }

  await amidst(0, async () => {
    await deliverers.kill()
    await deliverers.start(2)
  })
  await amidst(100, async () => {
    await killDatabase(server, pool)
    await again()
  })
  await amidst(200, async () => {
    await deliverers.kill()
    // (A fast shutdown.)
    process.kill(server.pid, 'SIGINT')
    await server.ended
    await again()
    await deliverers.start(2)
  })
  await until('the end of all deliveries', async () => (await waiting(pool)) === 0 || undefined)
  await deliverers.stop()

  const { committed, undone, unknown } = published
  t.diagnostic(
    `${committed.size} committed, ${undone.size} undone, ${unknown.size} unknown; ${load.arrivals.length} requests for ${owed(committed).length} deliveries`,
  )
  assert.ok(committed.size > 100 && undone.size > 30)
  const taken = load.arrivals.filter(({ isTaken }) => isTaken).map(({ pair }) => pair)
  assert.deepEqual(except(owed(committed), taken), [])
  // (What was undone, and what an endpoint does not want.)
  assert.deepEqual(except(taken, owed([...committed, ...unknown])), [])
  assert.deepEqual(load.forged, [])
  assertIdsFit(load.arrivals)
})

test('deliverers in several processes make each attempt once, and what has arrived is not delivered again', async (t: TestContext) => {
  const { pool, url } = await createDatabase()
  const load = await createLoad(pool, keys, false, { timeout: '60 s' })
  // (Leases of 105 s end after 10 s, rests of 10 s after one.)
  const deliverers = createDeliverers({ databaseUrl: url, keys, began: Date.now(), speed: 10 })
  t.after(async () => {
    await deliverers.kill()
    await load.stop()
  })
  const numbers = Array.from({ length: 120 }, (_, n) => n)
  await publishBatch(pool, 'events', numbers.map(eventOf))

  await deliverers.start(3)
  await until('the end of all deliveries', async () => (await waiting(pool)) === 0 || undefined)
  await deliverers.stop()

  const taken = load.arrivals.filter(({ isTaken }) => isTaken).map(({ pair }) => pair)
  assert.deepEqual(taken.sort(), [...owed(numbers)].sort())
  const { rows } = await pool.query<{ noted: string; different: string; delivered: string }>(
    `select count(*) as noted, count(distinct (message_id, number)) as different, count(*) filter (where outcome = 'delivered') as delivered
     from postbag.attempt`,
  )
  assert.deepEqual(rows[0], {
    noted: String(load.arrivals.length),
    different: String(load.arrivals.length),
    delivered: String(taken.length),
  })
  assert.ok(load.arrivals.length > taken.length)
  assert.deepEqual(load.forged, [])
  assertIdsFit(load.arrivals)
})
