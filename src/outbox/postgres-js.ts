/* Send in a transaction of postgres.js.
 *
 *   await sql.begin(async (sql) => {
 *     await sql`insert into "order" (id) values (1)`
 *     await postbag({ executor: fromPostgresJs(sql) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { through } from '../db/through.ts'

/** What `postgres()` gives, or the `sql` of a transaction or savepoint, as far as we need it. */
export interface PostgresJsHandle {
  unsafe(text: string, values: (string | null)[], options: { prepare: boolean }): PromiseLike<unknown>
}

/** An executor in a transaction of postgres.js; in none if it is given what `postgres()` gave.
 * The text is all ours, which is what makes `unsafe` safe. Prepared it takes one round trip instead of two; who has turned that off for a
 * pooler (`prepare: false`) is obeyed. */
export function fromPostgresJs(sql: PostgresJsHandle): Executor {
  return through((text, values) => sql.unsafe(text, values, { prepare: true }))
}
