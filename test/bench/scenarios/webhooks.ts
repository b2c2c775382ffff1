/* Webhooks: how fast what was published is delivered, by one deliverer that is a process of its own, to receivers in this process; and what it
 * costs. The time is from the moment in which the publish was accepted to the last arrival. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Database } from '../bench.ts'
import { type Measured, median, rateOnly } from '../measure.ts'
import { startDelivererProcess } from '../processes/children.ts'
import { makeEndpoints, proveEndpoints, type Receivers, startReceivers } from '../webhook-receivers.ts'

export const title = 'Webhooks'
export const measures =
  'Deliveries per second of one deliverer process, from the accepted publish to the last arrival, to endpoints as they are by default; and what it costs.'

const mostStatements = 0.2

interface Case {
  readonly name: string
  readonly events: number
  readonly well: number
  readonly dead: number
}

const cases: readonly Case[] = [
  { name: '1,000 events, 10 endpoints', events: 1000, well: 10, dead: 0 },
  { name: '1 event, 10,000 endpoints', events: 1, well: 10_000, dead: 0 },
  { name: '1 event, 10,000 endpoints, of which 1,000 never answer', events: 1, well: 9000, dead: 1000 },
]

const units = {
  accepted: 'ms to accept the publish',
  last: 'ms from then to the last arrival',
  rows: 'rows written per delivery (inserted, updated, deleted)',
  published: 'bytes of WAL per delivery, publish',
  delivered: 'bytes of WAL per delivery, deliverer',
  bodies: 'bodies stored per event',
  statements: 'statements per delivery',
  processor: 'ms of processor per delivery, deliverer',
  memory: 'MB of memory at most, deliverer',
  connections: 'connections to the database, deliverer',
} as const

type Costs = Readonly<Record<keyof typeof units, number>>

export async function run(bench: Bench): Promise<void> {
  const receivers = await startReceivers(50)
  try {
    const runners = []
    for (const [index, { name, ...full }] of cases.entries()) {
      const sizes = {
        events: bench.count(full.events),
        well: bench.count(full.well, 10),
        dead: full.dead && bench.count(full.dead),
      }
      const database = await bench.database(`webhooks_${index}`, async (made) => {
        await makeEndpoints(made, receivers, 'events', 'well', sizes.well)
        await makeEndpoints(made, receivers, 'events', 'dead', sizes.dead)
      })
      const costs: Costs[] = []
      runners.push({ name, costs, measure: () => measureDeliveries(database, receivers, sizes, costs) })
    }
    await bench.inTurn('from publish to last arrival', runners, 'deliveries/s')
    for (const { name, costs } of runners) {
      for (const [cost, unit] of Object.entries(units) as [keyof Costs, string][]) {
        bench.note({ part: name, contender: cost, unit, values: costs.map((round) => round[cost]) })
      }
      const statements = median(costs.map((round) => round.statements))
      bench.mustHold(`statements per delivery, ${name}`, 'below', mostStatements, statements)
    }
  } finally {
    receivers.stop()
  }
}

async function measureDeliveries(
  database: Database,
  receivers: Receivers,
  { events, well, dead }: Omit<Case, 'name'>,
  costs: Costs[],
): Promise<Measured> {
  const { pool } = database
  const one = async (statement: string) => Number((await pool.query(statement)).rows[0].value)
  const walBytes = () => one(`select pg_current_wal_lsn() - '0/0'::pg_lsn as value`)
  const bodies = () => one('select count(*) as value from postbag.body')
  // (This session tells at once what it has written, and the deliverer when it ends.)
  const rowsWritten = async () => {
    await pool.query('select pg_stat_force_next_flush()')
    return one(
      `select sum(n_tup_ins + n_tup_upd + n_tup_del) as value from pg_stat_user_tables where schemaname = 'postbag'`,
    )
  }
  await proveEndpoints(database)
  const deliverer = await startDelivererProcess(database.url, 50)
  const expected = events * well
  let arrived = 0
  let lastArrival = 0
  receivers.onArrival = () => {
    if (++arrived === expected) lastArrival = performance.now()
  }
  const messages = JSON.stringify(
    Array.from({ length: events }, (_, n) => ({ body: { text: 'hello', n }, type: 'greeting' })),
  )
  const [bodiesBefore, walBefore, before] = [await bodies(), await walBytes(), await deliverer.figures()]
  const rowsBefore = await rowsWritten()
  const began = performance.now()
  await pool.query(`select queues from postbag.publish_batch('events', $1::jsonb)`, [messages])
  const accepted = performance.now()
  const walPublished = await walBytes()

  // (Of those that never answer, each has an attempt under way or more.)
  while ((await one('select count(*) as value from postbag.message')) > events * dead) await sleep(20)
  const [wal, after] = [await walBytes(), await deliverer.figures()]
  await deliverer.stop()
  costs.push({
    accepted: accepted - began,
    last: lastArrival - accepted,
    rows: ((await rowsWritten()) - rowsBefore) / (events * (well + dead)),
    published: (walPublished - walBefore) / (events * (well + dead)),
    delivered: (wal - walPublished) / expected,
    bodies: ((await bodies()) - bodiesBefore) / events,
    statements: (after.statements - before.statements) / expected,
    processor: (after.processor - before.processor) / 1000 / expected,
    memory: after.memory / 1e6,
    connections: after.connections,
  })
  // What never answers must not wait for the next round.
  await pool.query(`select count(postbag.purge('webhooks.' || name)) from postbag.endpoint`)
  return rateOnly(expected / ((lastArrival - accepted) / 1000))
}
