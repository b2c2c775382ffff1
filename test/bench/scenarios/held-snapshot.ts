/* The flat line: a minute of traffic while another transaction holds a snapshot, so that no dead row can be removed. */
import { writeFile } from 'node:fs/promises'
import pg from 'pg'
import type { Bench } from '../bench.ts'
import { flatLine } from '../chart.ts'
import { createPlainTable, plainCycle } from '../contenders/plain-table.ts'
import { postbagCycle } from '../contenders/postbag-sql.ts'
import { connectAll, type SqlContender } from '../contenders/sql.ts'
import { measure } from '../measure.ts'

export const title = 'Held snapshot'
export const measures =
  'Full cycle in SQL, batch 10, 8 connections: 5 seconds as usual (the start), then a minute beside a transaction that holds a snapshot ' +
  '(repeatable read, open); the end is its last 5 seconds. Because the machine changes its speed within a minute, each second of the start and of ' +
  'the end is followed by one of the same contender in another database, which nothing holds back: what counts (× first) is what became of ' +
  'the ratio of the two. A full run draws docs/flat-line.svg.'

const load = { connections: 8, batch: 10 }

export async function run(bench: Bench): Promise<void> {
  const lines = []
  for (const contender of [postbagCycle(), plainCycle()]) {
    const name = contender.name.replaceAll(/\W/g, '_').toLowerCase()
    const [held, free] = [await filled(bench, name), await filled(bench, `${name}_free`)]
    const { start, end, perSecond } = await underHeldSnapshot(bench, { held, free }, contender)
    const part = `batch ${load.batch}, ${load.connections} connections`
    const ratio = end.held / end.free / (start.held / start.free)
    bench.note({ part, contender: `${contender.name}, start`, unit: 'msg/s', values: [start.held] })
    bench.note({ part, contender: `${contender.name}, end`, unit: 'msg/s', values: [end.held], ratio })
    bench.note({
      part,
      contender: `${contender.name}, nothing held, start and end`,
      unit: 'msg/s',
      values: [start.free, end.free],
    })
    lines.push({ name: contender.name, start: start.held, end: end.held, ratio, perSecond })
  }
  const [postbag, plain] = lines
  if (!postbag || !plain) return
  bench.mustHold('after 60 s under a held snapshot, against its start', 'at least', 0.9, postbag.ratio)
  bench.mustHold('… the plain table', 'below', 0.15, plain.ratio)
  if (bench.length === 'full') {
    await writeFile(new URL('../../../docs/flat-line.svg', import.meta.url), flatLine([postbag, plain]))
  }
}

async function filled(bench: Bench, name: string): Promise<string> {
  const { url, pool } = await bench.database(name)
  await createPlainTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)
  return url
}

async function underHeldSnapshot(
  bench: Bench,
  { held, free }: { readonly held: string; readonly free: string },
  contender: SqlContender,
) {
  const minute = bench.seconds(60)
  const part = bench.seconds(5)
  const holder = new pg.Client(held)
  await holder.connect()
  const clients = await connectAll(held, load.connections)
  const others = await connectAll(free, load.connections)
  try {
    const rounds = roundsOf(contender, clients)
    const otherRounds = roundsOf(contender, others)
    await measure(rounds, { seconds: part / 2, warmUpSeconds: 0 })
    await measure(otherRounds, { seconds: part / 2, warmUpSeconds: 0 })
    const before = await sideBySide(rounds, otherRounds, part)
    bench.say(`${contender.name}: ${Math.round(before.held)} msg/s; now a snapshot is held for ${Math.round(minute)} s`)
    await holder.query('begin isolation level repeatable read; select 1')
    const between = await measure(rounds, { seconds: minute - part, warmUpSeconds: 0 })
    const last = await sideBySide(rounds, otherRounds, part)
    await holder.query('rollback')
    bench.say(`${contender.name}: ${Math.round(last.held)} msg/s at its end`)
    return { start: before, end: last, perSecond: [...before.perSecond, ...between.perSecond, ...last.perSecond] }
  } finally {
    await Promise.all([holder, ...clients, ...others].map((client) => client.end()))
  }
}

function roundsOf(contender: SqlContender, clients: readonly pg.Client[]): (() => Promise<number>)[] {
  return clients.map((client) => {
    const session = contender.open(client, load.batch)
    return () => session.round()
  })
}

type Rounds = readonly (() => Promise<number>)[]

/** A second of the one, a second of the other, until each has had its time. */
async function sideBySide(rounds: Rounds, others: Rounds, seconds: number) {
  const slices = 5
  const slice = { seconds: seconds / slices, warmUpSeconds: 0 }
  const perSecond: number[] = []
  let [held, free] = [0, 0]
  for (let n = 0; n < slices; n++) {
    const { rate } = await measure(rounds, slice)
    perSecond.push(rate)
    held += rate / slices
    free += (await measure(others, slice)).rate / slices
  }
  return { held, free, perSecond }
}
