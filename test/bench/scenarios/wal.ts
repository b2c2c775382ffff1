/* How much WAL a message costs from its send to its ack. */
import type { Bench, Database } from '../bench.ts'
import { fill, untilNothingIsLeft } from '../contenders/fill.ts'
import { graphileLeft, graphileSend, installGraphileWorker } from '../contenders/graphile-worker.ts'
import { pgBossCycle, startPgBoss } from '../contenders/pg-boss.ts'
import { createPlainTable, plainCycle } from '../contenders/plain-table.ts'
import { postbagCycle, postbagRidingCycle } from '../contenders/postbag-sql.ts'
import { connectAll, type SqlContender } from '../contenders/sql.ts'
import { median } from '../measure.ts'
import { startConsumer } from '../processes/children.ts'

export const title = 'WAL'
export const measures =
  'Bytes of WAL per message of 200 bytes, full cycle in batches of 50 on 4 connections: after a checkpoint and a warm-up, so that the images of pages ' +
  'that are there already are written before; no checkpoint meanwhile. graphile-worker: addJobs, then its worker with a local queue of 50.'

const batch = 50
const connections = 4

interface Writer {
  readonly name: string
  /** Move so many messages through. */
  cycle(messages: number): Promise<void>
}

export async function run(bench: Bench): Promise<void> {
  const database = await bench.database()
  const { url, pool } = database
  await createPlainTable(pool)
  for (const queue of ['bench', 'riding']) await pool.query('select name from postbag.create_queue($1)', [queue])
  await installGraphileWorker(url)
  const boss = await startPgBoss(url)
  const writers: readonly Writer[] = [
    ...[plainCycle(), postbagCycle(), postbagRidingCycle({ queue: 'riding' }), pgBossCycle(boss)].map((contender) => ({
      name: contender.name,
      cycle: (messages: number) => cycle(url, contender, messages),
    })),
    { name: 'graphile-worker', cycle: (messages) => graphileCycle(database, messages) },
  ]
  const messages = bench.count(20_000, batch * connections)
  const bytes: number[][] = writers.map(() => [])
  try {
    for (let round = 1; round <= bench.rounds; round++) {
      for (const [index, writer] of writers.entries()) {
        await pool.query('checkpoint')
        await writer.cycle(messages / 4)
        const begin = await walPosition(database)
        await writer.cycle(messages)
        const perMessage = ((await walPosition(database)) - begin) / messages
        bytes[index]?.push(perMessage)
        bench.say(`round ${round} of ${bench.rounds}: ${writer.name} ${Math.round(perMessage)} B per message`)
      }
    }
  } finally {
    await boss.stop()
  }
  for (const [index, { name }] of writers.entries()) {
    const values = bytes[index] ?? []
    bench.note({ part: `batch ${batch}`, contender: name, unit: 'B/message', values })
    if (!name.startsWith('Postbag')) continue
    bench.mustHold(`WAL per message in bytes, 200 B, batch 50, full cycle: ${name}`, 'at most', 800, median(values))
  }
}

async function walPosition({ pool }: Database): Promise<number> {
  const { rows } = await pool.query<{ at: string }>(`select pg_current_wal_insert_lsn() - '0/0' as at`)
  return Number(rows[0]?.at)
}

async function cycle(url: string, contender: SqlContender, messages: number): Promise<void> {
  const clients = await connectAll(url, connections)
  try {
    let moved = 0
    await Promise.all(
      clients.map(async (client) => {
        const session = contender.open(client, batch)
        while (moved < messages) {
          const count = await session.round()
          moved += count
        }
        await session.finish?.()
      }),
    )
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

async function graphileCycle({ url, pool }: Database, messages: number): Promise<void> {
  await fill(url, graphileSend, messages, { batch })
  const worker = startConsumer({ kind: 'graphile-worker', databaseUrl: url, localQueue: batch }, [messages])
  await Promise.all(worker.marks)
  await untilNothingIsLeft(pool, graphileLeft)
  await worker.stop()
}
