/* What the size of bodies does. */
import type { Bench } from '../bench.ts'
import { createPlainTable, plainCycle } from '../contenders/plain-table.ts'
import { postbagCycle } from '../contenders/postbag-sql.ts'
import { bodyOf, measureSql } from '../contenders/sql.ts'

export const title = 'Bodies'
export const measures = 'Full cycle in SQL, batch 10, 8 connections, with JSON of so many bytes that do not compress.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createPlainTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)
  for (const [size, bytes] of [
    ['200 B', 200],
    ['2 kB', 2000],
    ['64 kB', 64_000],
  ] as const) {
    const json = bodyOf(bytes)
    await bench.inTurn(
      `${size}, batch 10, 8 connections`,
      [plainCycle({ json }), postbagCycle({ json })].map((contender) => ({
        name: contender.name,
        measure: () => measureSql(url, contender, { connections: 8, batch: 10, seconds: bench.seconds(1.5) }),
      })),
    )
  }
}
