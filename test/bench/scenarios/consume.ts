/* Consumers as people run them: Postbag's SDK, over HTTP and in the worker's process (as peers are), against the peers' workers. */
import { type Bench, type Database, rates } from '../bench.ts'
import { bareLeft, bareSend, createBareTable } from '../contenders/bare.ts'
import { fill, untilNothingIsLeft } from '../contenders/fill.ts'
import { graphileLeft, graphileSend, installGraphileWorker } from '../contenders/graphile-worker.ts'
import { pgBossLeft, pgBossSend, startPgBoss } from '../contenders/pg-boss.ts'
import { postbagLeft, postbagSend } from '../contenders/postbag-sql.ts'
import type { SqlContender } from '../contenders/sql.ts'
import { type Measured, medianRatio, rateOnly } from '../measure.ts'
import { startConsumer, startServerProcess } from '../processes/children.ts'
import type { ConsumerKind } from '../processes/consumer.ts'

export const title = 'Consume (receive, empty handler, ack)'
export const measures =
  'A consumer in a process of its own empties a queue that was filled before: from the tenth part on, until nothing is left in the database. ' +
  'Postbag: consume() of the SDK, 500 at a time, over HTTP to a server in another process, and with postbag/local, where the consumer talks to ' +
  'the database itself, as the peers do. graphile-worker: concurrency 24, local queue of 500. pg-boss: a handler for batches (a batch succeeds or fails as a whole), one worker with batches of 100, and 4 with batches of 500. ' +
  'The bare statements claim and delete 500 at a time on 4 connections, without any library: what a row per message costs at the very least.'

/** How many messages or jobs are in a process' hands at once, at most. */
const inHand = 500

interface Consumption {
  readonly name: string
  readonly consumer: ConsumerKind
  readonly send: SqlContender
  readonly left: string
  readonly messages: number
}

export async function run(bench: Bench): Promise<void> {
  const database = await bench.database()
  const { url: databaseUrl, pool } = database
  await pool.query(`select name from postbag.create_queue('bench')`)
  await createBareTable(pool)
  await installGraphileWorker(databaseUrl)
  const boss = await startPgBoss(databaseUrl)
  const server = await startServerProcess(databaseUrl)
  const many = bench.count(160_000, 50)
  const some = bench.count(8000, 50)
  const graphile = { send: graphileSend, left: graphileLeft }
  const pgBoss = { send: pgBossSend(boss), left: pgBossLeft }
  try {
    const consumptions: readonly Consumption[] = [
      {
        name: 'Postbag SDK',
        consumer: { kind: 'postbag', url: server.url, concurrency: inHand },
        send: postbagSend(),
        left: postbagLeft,
        messages: many,
      },
      {
        name: 'Postbag SDK, local',
        consumer: { kind: 'postbag-local', databaseUrl, concurrency: inHand },
        send: postbagSend(),
        left: postbagLeft,
        messages: many,
      },
      {
        name: 'graphile-worker, local queue',
        consumer: { kind: 'graphile-worker', databaseUrl, localQueue: inHand },
        ...graphile,
        messages: many,
      },
      {
        name: 'graphile-worker',
        consumer: { kind: 'graphile-worker', databaseUrl, localQueue: 0 },
        ...graphile,
        messages: some,
      },
      {
        name: 'pg-boss',
        consumer: { kind: 'pg-boss', databaseUrl, batch: 100, workers: 1 },
        ...pgBoss,
        messages: many,
      },
      {
        name: 'pg-boss, 4 workers',
        consumer: { kind: 'pg-boss', databaseUrl, batch: inHand, workers: 4 },
        ...pgBoss,
        messages: many,
      },
      {
        name: 'bare statements',
        consumer: { kind: 'bare', databaseUrl, batch: inHand, connections: 4 },
        send: bareSend,
        left: bareLeft,
        messages: many,
      },
    ]
    const [http, local, localQueue, single, oneWorker, fourWorkers] = await bench.inTurn(
      'empty handler',
      consumptions.map((one) => ({ name: one.name, measure: () => consumeAll(database, one) })),
    )
    const against = (peer: string, factor: number, measured: readonly Measured[] | undefined) => {
      for (const [way, own] of [
        ['over HTTP', http],
        ['local', local],
      ] as const) {
        const ratio = medianRatio(rates(own), rates(measured))
        bench.mustHold(`consume through the SDK, ${way}, against ${peer}`, 'at least', factor, ratio)
      }
    }
    against('graphile-worker with local queue', 1.5, localQueue)
    against('graphile-worker without', 4, single)
    against('pg-boss', 4, oneWorker)
    against('pg-boss with 4 workers', 4, fourWorkers)
  } finally {
    await server.stop()
    await boss.stop()
  }
}

async function consumeAll({ url, pool }: Database, { consumer, send, left, messages }: Consumption): Promise<Measured> {
  await fill(url, send, messages)
  await pool.query('vacuum analyze')
  const warm = Math.ceil(messages / 10)
  const child = startConsumer(consumer, [warm, messages])
  const [warmed, handled] = child.marks
  try {
    await warmed
    const begin = performance.now()
    await handled
    await untilNothingIsLeft(pool, left)
    const seconds = (performance.now() - begin) / 1000
    return rateOnly((messages - warm) / seconds)
  } finally {
    await child.stop()
  }
}
