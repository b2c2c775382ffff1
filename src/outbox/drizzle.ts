/* Send in a Drizzle transaction, over any of its drivers for Postgres.
 *
 *   import { sql } from 'drizzle-orm'
 *
 *   await db.transaction(async (tx) => {
 *     await tx.insert(order).values({ id: 1 })
 *     await postbag({ executor: fromDrizzle(tx, sql) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { through } from '../db/through.ts'

/** A Drizzle database or transaction, as far as we need it. */
export interface DrizzleHandle<Statement> {
  execute(statement: Statement): PromiseLike<unknown>
}

/** An executor in a Drizzle transaction; in none if it is given the database itself.
 * @param sql Drizzle's own: only it can make what `execute` takes. What stands between two values is told to it like the parts of a
 * template. */
export function fromDrizzle<Statement>(
  tx: DrizzleHandle<Statement>,
  sql: (parts: TemplateStringsArray, ...values: (string | null)[]) => Statement,
): Executor {
  return through((text, values) => {
    const parts = text.split(/\$\d+/)
    const places = [...text.matchAll(/\$(\d+)/g)]
    return tx.execute(
      sql(Object.assign(parts, { raw: parts }), ...places.map(([, number]) => values[Number(number) - 1] ?? null)),
    )
  })
}
