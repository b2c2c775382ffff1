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
  'Full cycle in SQL, batch 10, 8 connections, each contender once: 5 seconds as usual (the start), then a minute beside a transaction that ' +
  'holds a snapshot (repeatable read, open); the end is its last 5 seconds (× first: against its own start). A full run draws docs/flat-line.svg.'

const load = { connections: 8, batch: 10 }

export async function run(bench: Bench): Promise<void> {
  const lines = []
  for (const contender of [postbagCycle(), plainCycle()]) {
    const { url, pool } = await bench.database(contender.name.replaceAll(/\W/g, '_').toLowerCase())
    await createPlainTable(pool)
    await pool.query(`select name from postbag.create_queue('bench')`)
    const { start, end, perSecond } = await underHeldSnapshot(bench, url, contender)
    const part = `batch ${load.batch}, ${load.connections} connections`
    bench.note({ part, contender: `${contender.name}, start`, unit: 'msg/s', values: [start] })
    bench.note({ part, contender: `${contender.name}, end`, unit: 'msg/s', values: [end], ratio: end / start })
    lines.push({ name: contender.name, start, end, perSecond })
  }
  const [postbag, plain] = lines
  if (!postbag || !plain) return
  bench.mustHold('after 60 s under a held snapshot, against its start', 'at least', 0.9, postbag.end / postbag.start)
  bench.mustHold('… the plain table', 'below', 0.15, plain.end / plain.start)
  if (bench.length === 'full') {
    await writeFile(new URL('../../../docs/flat-line.svg', import.meta.url), flatLine([postbag, plain]))
  }
}

async function underHeldSnapshot(bench: Bench, url: string, contender: SqlContender) {
  const minute = bench.seconds(60)
  const part = bench.seconds(5)
  const holder = new pg.Client(url)
  await holder.connect()
  const clients = await connectAll(url, load.connections)
  try {
    const rounds = clients.map((client) => {
      const session = contender.open(client, load.batch)
      return () => session.round()
    })
    const before = await measure(rounds, { seconds: part, warmUpSeconds: part / 2 })
    bench.say(`${contender.name}: ${Math.round(before.rate)} msg/s; now a snapshot is held for ${Math.round(minute)} s`)
    await holder.query('begin isolation level repeatable read; select 1')
    const first = await measure(rounds, { seconds: minute - part, warmUpSeconds: 0 })
    const last = await measure(rounds, { seconds: part, warmUpSeconds: 0 })
    await holder.query('rollback')
    bench.say(`${contender.name}: ${Math.round(last.rate)} msg/s at its end`)
    return {
      start: before.rate,
      end: last.rate,
      perSecond: [...before.perSecond, ...first.perSecond, ...last.perSecond],
    }
  } finally {
    await Promise.all([holder, ...clients].map((client) => client.end()))
  }
}
