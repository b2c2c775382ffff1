/* Webhooks: what endpoints that are sick do to one that is well. Events are published to it at a steady rate, one statement each; the time is from
 * the beginning of that statement to the arrival at its receiver, which is in this process. The deliverer is a process of its own, started anew for
 * each round; it looks every 20 ms, so that the time is not that until its next look. The first seconds, in which it starts and finds out who answers,
 * are not counted. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Database } from '../bench.ts'
import { latencies, type Measured, medianRatio } from '../measure.ts'
import { startDelivererProcess } from '../processes/children.ts'
import { makeEndpoints, proveEndpoints, type Receivers, startReceivers } from '../webhook-receivers.ts'

export const title = 'Webhooks: isolation'
export const measures =
  'From publish to arrival at an endpoint that is well, 20 events a second; alone, and beside endpoints that were well until then.'

const perSecond = 20
const uncountedSeconds = 2
const mostTimes = 1.5

/** Who is there beside it, and what waits for each of them. */
const companies = [
  { name: 'alone', sick: [], waiting: 0 },
  {
    name: 'a dead, a slow and a throttled one, 100,000 deliveries each',
    sick: [
      ['dead', 1],
      ['slow', 1],
      ['throttled', 1],
    ],
    waiting: 100_000,
  },
  { name: '1,000 dead ones, 10 deliveries each', sick: [['dead', 1000]], waiting: 10 },
] as const

export async function run(bench: Bench): Promise<void> {
  const receivers = await startReceivers(50)
  try {
    const runners = []
    for (const company of companies) {
      const database = await bench.database(company.name.replaceAll(/\W+/g, '_').slice(0, 20), (made) =>
        fill(bench, made, receivers, company),
      )
      runners.push({ name: company.name, measure: () => measureArrivals(bench, database, receivers) })
    }
    const results = await bench.inTurn('from publish to arrival', runners, 'events/s')
    const p99 = (index: number) => results[index]?.map((measured) => measured.p99 ?? Number.NaN) ?? []
    for (const [index, { name }] of runners.entries()) {
      if (index === 0) continue
      const times = medianRatio(p99(index), p99(0))
      bench.mustHold(`p99 of the one that is well, beside ${name}, × alone`, 'at most', mostTimes, times)
    }
  } finally {
    receivers.stop()
  }
}

async function fill(
  bench: Bench,
  database: Database,
  receivers: Receivers,
  company: (typeof companies)[number],
): Promise<void> {
  await makeEndpoints(database, receivers, 'well', 'well', 1)
  for (const [manner, count] of company.sick)
    await makeEndpoints(database, receivers, 'sick', manner, bench.count(count))
  const waiting = company.waiting > 1000 ? bench.count(company.waiting) : company.waiting
  for (let sent = 0; sent < waiting; sent += 1000) {
    const messages = Array.from({ length: Math.min(1000, waiting - sent) }, (_, index) => ({ body: sent + index }))
    await database.pool.query(`select queues from postbag.publish_batch('sick', $1::jsonb)`, [JSON.stringify(messages)])
  }
}

async function measureArrivals(bench: Bench, database: Database, receivers: Receivers): Promise<Measured> {
  const { pool } = database
  await proveEndpoints(database)
  const begun = new Map<number, number>()
  const millis: number[] = []
  receivers.onArrival = (body) => {
    const { number } = JSON.parse(body)
    const began = begun.get(number)
    // (What arrives twice counts once.)
    if (began !== undefined && begun.delete(number) && number >= uncounted) millis.push(performance.now() - began)
  }
  const deliverer = await startDelivererProcess(database.url, 20)
  const uncounted = bench.seconds(uncountedSeconds) * perSecond
  const count = uncounted + Math.max(2, Math.round(bench.seconds(20) * perSecond))
  const started = performance.now()
  const published: Promise<unknown>[] = []
  for (let number = 0; number < count; number++) {
    await sleep(Math.max(0, started + (number * 1000) / perSecond - performance.now()))
    begun.set(number, performance.now())
    published.push(pool.query('select postbag.publish($1, $2)', ['well', { number }]))
  }
  await Promise.all(published)
  while (begun.size > 0) await sleep(5)
  const elapsed = (performance.now() - started) / 1000
  await deliverer.stop()
  return { rate: count / elapsed, ...latencies(millis), perSecond: [] }
}
