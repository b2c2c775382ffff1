/* Drizzle, over pg and over postgres.js. */
import { sql } from 'drizzle-orm'
import { drizzle as overPg } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { drizzle as overPostgresJs } from 'drizzle-orm/postgres-js'
import pg from 'pg'
import postgres from 'postgres'
import { fromDrizzle } from '../../../src/outbox/drizzle.ts'
import type { Library, Transaction } from './library.ts'

const exampleOrder = pgTable('example_order', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  item: text().notNull(),
})

export async function openDrizzleOverPg(url: string): Promise<Library> {
  const pool = new pg.Pool({ connectionString: url })
  const db = overPg({ client: pool })
  type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0]
  const inside = (tx: Tx): Transaction => ({
    executor: fromDrizzle(tx, sql),
    insert: (item) => tx.insert(exampleOrder).values({ item }),
    savepoint: (work) => tx.transaction((inner) => work(inside(inner))),
  })
  return {
    executor: fromDrizzle(db, sql),
    transaction: (work) => db.transaction((tx) => work(inside(tx))),
    close: () => pool.end(),
  }
}

export async function openDrizzleOverPostgresJs(url: string): Promise<Library> {
  const client = postgres(url)
  const db = overPostgresJs({ client })
  type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0]
  const inside = (tx: Tx): Transaction => ({
    executor: fromDrizzle(tx, sql),
    insert: (item) => tx.insert(exampleOrder).values({ item }),
    savepoint: (work) => tx.transaction((inner) => work(inside(inner))),
  })
  return {
    executor: fromDrizzle(db, sql),
    transaction: (work) => db.transaction((tx) => work(inside(tx))),
    close: () => client.end(),
  }
}
