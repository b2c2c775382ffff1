/* End to end through the SDK: one process sends, another one consumes, at the same time. */
import { createClient } from '../../../src/client/index.ts'
import type { Bench } from '../bench.ts'
import { graphileSend, installGraphileWorker } from '../contenders/graphile-worker.ts'
import { pgBossSend, startPgBoss } from '../contenders/pg-boss.ts'
import { body, connectAll, type SqlContender } from '../contenders/sql.ts'
import { type Measured, rateOnly } from '../measure.ts'
import { startConsumer, startServerProcess } from '../processes/children.ts'
import type { ConsumerKind } from '../processes/consumer.ts'

export const title = 'End to end through the SDK'
export const measures =
  'This process sends batches of 10, 8 at a time, while another consumes with an empty handler; until all are handled. Postbag: sendBatch() and ' +
  'consume() of the SDK over HTTP to a server in a third process. graphile-worker: addJobs, and its worker with a local queue. pg-boss: insert, ' +
  'and 4 workers with batches of 500 that look every half second.'

const batch = 10
const atOnce = 8

interface Flow {
  readonly name: string
  readonly consumer: ConsumerKind
  /** Senders, each sending one batch when called; called one call at a time. */
  senders(): Promise<{ readonly senders: readonly (() => Promise<unknown>)[]; end(): Promise<unknown> }>
}

export async function run(bench: Bench): Promise<void> {
  const { url: databaseUrl, pool } = await bench.database()
  await pool.query(`select name from postbag.create_queue('bench')`)
  await installGraphileWorker(databaseUrl)
  const boss = await startPgBoss(databaseUrl)
  const server = await startServerProcess(databaseUrl)
  const messages = bench.count(20_000, 200)
  const flows: readonly Flow[] = [
    {
      name: 'Postbag SDK',
      consumer: { kind: 'postbag', url: server.url, concurrency: 500 },
      async senders() {
        const queue = createClient({ url: server.url }).queue('bench')
        const given = Array.from({ length: batch }, () => ({ body: JSON.parse(body) }))
        return { senders: new Array(atOnce).fill(() => queue.sendBatch(given)), end: async () => {} }
      },
    },
    {
      name: 'graphile-worker, local queue',
      consumer: { kind: 'graphile-worker', databaseUrl, localQueue: 500 },
      senders: () => sqlSenders(databaseUrl, graphileSend),
    },
    {
      name: 'pg-boss, 4 workers',
      consumer: { kind: 'pg-boss', databaseUrl, batch: 500, workers: 4 },
      senders: () => sqlSenders(databaseUrl, pgBossSend(boss)),
    },
  ]
  try {
    await bench.inTurn(
      `batches of ${batch}`,
      bench.variants(flows).map((flow) => ({ name: flow.name, measure: () => endToEnd(flow, messages) })),
    )
  } finally {
    await Promise.all([server.stop(), boss.stop()])
  }
}

async function endToEnd({ consumer, senders }: Flow, messages: number): Promise<Measured> {
  const warm = Math.ceil(messages / 10 / batch) * batch
  const child = startConsumer(consumer, [warm, warm + messages])
  const [warmed, handled] = child.marks
  const sending = await senders()
  try {
    await sendAll(sending.senders, warm)
    await warmed
    const begin = performance.now()
    await sendAll(sending.senders, messages)
    await handled
    return rateOnly(messages / ((performance.now() - begin) / 1000))
  } finally {
    await sending.end()
    await child.stop()
  }
}

async function sendAll(senders: readonly (() => Promise<unknown>)[], messages: number): Promise<void> {
  let begun = 0
  await Promise.all(
    senders.map(async (send) => {
      while (begun < messages) {
        begun += batch
        await send()
      }
    }),
  )
}

async function sqlSenders(databaseUrl: string, contender: SqlContender) {
  const clients = await connectAll(databaseUrl, atOnce)
  return {
    senders: clients.map((client) => {
      const session = contender.open(client, batch)
      return () => session.round()
    }),
    end: () => Promise.all(clients.map((client) => client.end())),
  }
}
