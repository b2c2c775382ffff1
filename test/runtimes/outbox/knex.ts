/* Knex, plain and with a setting that renames what comes back. */
import knex, { type Knex } from 'knex'
import { fromKnex } from '../../../src/outbox/knex.ts'
import type { Library, Transaction } from './library.ts'

export async function openKnex(url: string, { camelCase = false } = {}): Promise<Library> {
  const db = knex({ client: 'pg', connection: url, ...(camelCase && { postProcessResponse: camelCased }) })
  return {
    executor: fromKnex(db),
    transaction: (work) => db.transaction((trx) => work(inside(trx))),
    close: () => db.destroy(),
  }
}

function inside(trx: Knex.Transaction): Transaction {
  return {
    executor: fromKnex(trx),
    insert: (item) => trx('example_order').insert({ item }),
    savepoint: (work) => trx.transaction((inner) => work(inside(inner))),
  }
}

/** Keys at every depth, as the mappers that Knex users have do. */
function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  const renamed = Object.entries(value).map(([key, inner]) => [
    key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    camelCased(inner),
  ])
  return Object.fromEntries(renamed)
}
