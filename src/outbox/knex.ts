/* Send in a Knex transaction.
 *
 *   await knex.transaction(async (trx) => {
 *     await trx('order').insert({ id: 1 })
 *     await postbag({ executor: fromKnex(trx) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { through } from '../db/through.ts'

/** A Knex instance or transaction, as far as we need it. */
export interface KnexHandle {
  raw(text: string, values: (string | null)[]): PromiseLike<unknown>
}

/** An executor in a Knex transaction; in none if it is given the Knex instance itself.
 * Knex counts its placeholders: a value stands in the list as often as in the statement. */
export function fromKnex(knex: KnexHandle): Executor {
  return through((text, values) => {
    const places = [...text.matchAll(/\$(\d+)/g)]
    return knex.raw(
      text.replaceAll('?', '\\?').replace(/\$\d+/g, '?'),
      places.map(([, number]) => values[Number(number) - 1] ?? null),
    )
  }, withoutStatement)
}

/** Knex writes the statement before the database's message, in the database's own error. */
function withoutStatement(error: unknown): unknown {
  const { message = '', ...rest } = error as Error & { message?: string }
  const [, ofDatabase] = /^select [\s\S]* as answer - ([\s\S]*)$/.exec(message) ?? []
  return ofDatabase === undefined ? undefined : Object.assign(new Error(ofDatabase, { cause: error }), rest)
}
