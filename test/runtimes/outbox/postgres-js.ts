/* postgres.js, plain and with its transformation of names. */
import postgres from 'postgres'
import { fromPostgresJs } from '../../../src/outbox/postgres-js.ts'
import type { Library, Transaction } from './library.ts'

export async function openPostgresJs(
  url: string,
  options: postgres.Options<Record<string, never>> = {},
): Promise<Library> {
  const sql = postgres(url, { onnotice: () => {}, ...options })
  return {
    executor: fromPostgresJs(sql),
    transaction: (work) => sql.begin((tx) => work(inside(tx))),
    close: () => sql.end(),
  }
}

export const camelCase = { transform: postgres.camel }

function inside(sql: postgres.TransactionSql): Transaction {
  return {
    executor: fromPostgresJs(sql),
    insert: (item) => sql`insert into example_order (item) values (${item})`,
    savepoint: (work) => sql.savepoint((inner) => work(inside(inner))),
  }
}
