/* The physical limit: what this machine and this Postgres can do at all, in the same run. */
import type pg from 'pg'
import type { Bench } from '../bench.ts'
import { listen, notify } from '../contenders/notify.ts'
import { connectAll, loadOf, measureSql, prepared, type SqlContender } from '../contenders/sql.ts'
import { measure } from '../measure.ts'

export const title = 'The physical limit'
export const measures =
  'Bare `insert … select unnest` and `delete` of n rows of 200 bytes on a table with nothing but a key, each a transaction; a NOTIFY from one ' +
  'connection to another, round after round.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await pool.query('create table bare (id bigint generated always as identity primary key, body text)')
  for (const connections of bench.variants([8, 1, 32])) {
    for (const batch of bench.variants([1, 10, 100])) {
      await bench.inTurn(`insert, delete, ${loadOf(batch, connections)}`, [
        {
          name: 'bare table',
          measure: () => measureSql(url, bareCycle, { connections, batch, seconds: bench.seconds(1) }),
        },
      ])
    }
  }
  await bench.inTurn(
    'NOTIFY, 2 connections',
    [{ name: 'pg_notify', measure: () => notifications(url, bench) }],
    'round trips/s',
  )
}

const insert = prepared('insert', 'insert into bare (body) select * from unnest($1::text[]) returning id')
const remove = prepared('remove', 'delete from bare where id = any($1::bigint[])')

const bareCycle: SqlContender = {
  name: 'bare table',
  open(client, batch) {
    const bodies = `{${new Array(batch).fill('x'.repeat(200)).join(',')}}`
    return {
      async round() {
        const { rows } = await insert(client, [bodies])
        await remove(client, [`{${rows.join(',')}}`])
        return batch
      },
    }
  },
}

async function notifications(url: string, bench: Bench) {
  const [listener, notifier] = (await connectAll(url, 2)) as [pg.Client, pg.Client]
  try {
    const next = await listen(listener)
    return await measure(
      [
        async () => {
          const heard = next()
          await notify(notifier)
          await heard
          return 1
        },
      ],
      { seconds: bench.seconds(2) },
    )
  } finally {
    await Promise.all([listener.end(), notifier.end()])
  }
}
