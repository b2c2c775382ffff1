/* Kysely, plain and with the plugin that renames what comes back. */
import { CamelCasePlugin, type ControlledTransaction, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Library, Transaction } from './library.ts'

interface Tables {
  example_order: { item: string }
}

export async function openKysely(url: string, { camelCase = false } = {}): Promise<Library> {
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }),
    plugins: camelCase ? [new CamelCasePlugin()] : [],
  })
  return {
    executor: db,
    async transaction(work) {
      const trx = await db.startTransaction().execute()
      try {
        await work(inside(trx))
        await trx.commit().execute()
      } catch (error) {
        await trx.rollback().execute()
        throw error
      }
    },
    close: () => db.destroy(),
  }
}

function inside(trx: ControlledTransaction<Tables, string[]>): Transaction {
  return {
    executor: trx,
    insert: (item) => trx.insertInto('example_order').values({ item }).execute(),
    async savepoint(work) {
      const inner = await trx.savepoint('inner_one').execute()
      try {
        await work(inside(inner))
      } catch (error) {
        await inner.rollbackToSavepoint('inner_one').execute()
        throw error
      }
    },
  }
}
