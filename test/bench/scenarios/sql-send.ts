/* Sends in SQL, one at a time and in batches, against the peers' own batch inserts. */
import { type Bench, rates } from '../bench.ts'
import { graphileSend, installGraphileWorker } from '../contenders/graphile-worker.ts'
import { pgBossSend, startPgBoss } from '../contenders/pg-boss.ts'
import { createPlainTable, plainSend } from '../contenders/plain-table.ts'
import { postbagSend } from '../contenders/postbag-sql.ts'
import { loadOf, measureSql, type SqlContender } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'Sends in SQL'
export const measures = 'Each connection sends n messages of 200 bytes in one statement, and again; nobody receives.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createPlainTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)
  await installGraphileWorker(url)
  const boss = await startPgBoss(url)
  try {
    const contenders = [plainSend, postbagSend(), graphileSend, pgBossSend(boss)]
    for (const connections of bench.variants([8, 1, 32])) {
      for (const batch of bench.variants([1, 10, 100])) {
        await compare(bench, url, connections === 8 ? contenders : contenders.slice(0, 2), connections, batch)
        // So that no part inserts into what the one before left.
        await pool.query('truncate plain_queue, postbag.message, graphile_worker._private_jobs, pgboss.job')
      }
    }
  } finally {
    await boss.stop()
  }
}

async function compare(
  bench: Bench,
  url: string,
  contenders: readonly SqlContender[],
  connections: number,
  batch: number,
): Promise<void> {
  const seconds = bench.seconds(connections === 8 ? 1.4 : 0.8)
  const [, postbag, graphile, boss] = await bench.inTurn(
    loadOf(batch, connections),
    contenders.map((contender) => ({
      name: contender.name,
      measure: () => measureSql(url, contender, { connections, batch, seconds }),
    })),
  )
  if (!graphile || !boss || batch === 1) return
  const what = `batch send, ${batch} messages, 8 connections, against`
  bench.mustHold(`${what} graphile-worker addJobs`, 'at least', 1.5, medianRatio(rates(postbag), rates(graphile)))
  bench.mustHold(`${what} pg-boss insert`, 'at least', 1.5, medianRatio(rates(postbag), rates(boss)))
}
