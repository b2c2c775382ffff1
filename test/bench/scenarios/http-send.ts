/* Single sends over HTTP, each answered only after its commit, with and without coalescing; and what peers' single sends do. */
import { type Bench, rates } from '../bench.ts'
import { graphileAddJob, installGraphileWorker } from '../contenders/graphile-worker.ts'
import { pgBossSendOne, startPgBoss } from '../contenders/pg-boss.ts'
import { httpSends } from '../contenders/postbag-http.ts'
import { measure, medianRatio } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Single sends over HTTP'
export const measures =
  'So many connections, one message of 200 bytes per request, to a server in another process with 10 connections to the database; the peers send ' +
  'as many at once, from this process, over 10 connections.'

const poolSize = 10

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await pool.query(`select name from postbag.create_queue('bench')`)
  await installGraphileWorker(url)
  const [coalescing, single] = await Promise.all([
    startServerProcess(url, { maxConnections: poolSize }),
    startServerProcess(url, { maxConnections: poolSize, coalesce: false }),
  ])
  const graphile = await graphileAddJob(url, poolSize)
  const boss = await startPgBoss(url, poolSize)
  try {
    for (const connections of bench.variants([64, 1])) {
      const options = { seconds: bench.seconds(2.5) }
      const atOnce = (send: () => Promise<number>) => measure(new Array(connections).fill(send), options)
      const [without, postbag, addJob] = await bench.inTurn(`${connections} at once`, [
        { name: 'Postbag, no coalescing', measure: () => httpSends(single.url, connections, options) },
        { name: 'Postbag', measure: () => httpSends(coalescing.url, connections, options) },
        { name: 'graphile-worker addJob', measure: () => atOnce(graphile.send) },
        { name: 'pg-boss send', measure: () => atOnce(() => pgBossSendOne(boss)) },
      ])
      await pool.query('truncate postbag.message, graphile_worker._private_jobs, pgboss.job')
      if (connections === 1) continue
      const what = `single sends over HTTP, ${connections} connections, against`
      bench.mustHold(`${what} the same without coalescing`, 'at least', 3, medianRatio(rates(postbag), rates(without)))
      bench.mustHold(`${what} graphile-worker addJob`, 'more than', 1, medianRatio(rates(postbag), rates(addJob)))
    }
  } finally {
    await Promise.all([coalescing.stop(), single.stop(), graphile.stop(), boss.stop()])
  }
}
