/* What waiting costs where nothing happens: queries. */
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startEmbedded } from '../../../src/db/embedded.ts'
import { install } from '../../../src/db/install.ts'
import { scratchFolder } from '../../support/server.ts'
import type { Bench } from '../bench.ts'
import { waitIdly } from '../contenders/waiters.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Idle waiters'
export const measures =
  '1,000 receives wait on one queue through one server (long polls of 20 s, asked again when they end) and nothing is sent: statements that the ' +
  'database saw in a minute, by pg_stat_statements, on a Postgres of its own.'

const waiters = 1000

export async function run(bench: Bench): Promise<void> {
  const dataDir = await scratchFolder()
  const settings = { shared_preload_libraries: 'pg_stat_statements' }
  const postgres = await startEmbedded({ dataDir, settings })
  // Who counts does so from another database, and is not counted.
  const counter = new pg.Pool({ connectionString: postgres.url.replace(/[^/]*$/, 'postgres'), max: 1 })
  const queued = new pg.Pool({ connectionString: postgres.url, max: 1 })
  try {
    await counter.query('create extension pg_stat_statements')
    await install(queued)
    await queued.query(`select name from postbag.create_queue('bench')`)
    await queued.end()
    const server = await startServerProcess(postgres.url)
    const waiting = await waitIdly(server.url, 'bench', bench.count(waiters, 5))
    try {
      // Until all of them have looked, and wait.
      await sleep(bench.seconds(5000))
      const before = await statements(counter)
      const seconds = bench.seconds(60)
      bench.say(`waiting for ${Math.round(seconds)} s`)
      await sleep(seconds * 1000)
      const perMinute = ((await statements(counter)) - before) * (60 / seconds)
      bench.note({ part: `${waiters} wait`, contender: 'Postbag', unit: 'queries/min', values: [perMinute] })
      bench.mustHold(`queries per minute with ${waiters} waiting long polls and nothing sent`, 'at most', 0, perMinute)
    } finally {
      waiting.stop()
      await server.stop()
    }
  } finally {
    await Promise.all([counter, queued].map((pool) => pool.ended || pool.end()))
    await postgres.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** How many the database with the queue has seen so far. */
async function statements(counter: pg.Pool): Promise<number> {
  const { rows } = await counter.query<{ calls: number }>(`
    select coalesce(sum(calls), 0)::integer as calls
    from pg_stat_statements join pg_database on pg_database.oid = dbid
    where datname <> current_database()
  `)
  return rows[0]?.calls ?? Number.NaN
}
