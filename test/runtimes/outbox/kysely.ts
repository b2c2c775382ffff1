/* Kysely, plain and with plugins that change what comes back. */
import { type ControlledTransaction, Kysely, type KyselyPlugin, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { Library, Transaction } from './library.ts'

interface Tables {
  example_order: { item: string }
}

export async function openKysely(url: string, ...plugins: KyselyPlugin[]): Promise<Library> {
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }),
    plugins,
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
