/* pg itself: transactions are statements. */
import pg from 'pg'
import type { Library, Transaction } from './library.ts'

export async function openPg(url: string): Promise<Library> {
  const pool = new pg.Pool({ connectionString: url })
  return {
    executor: pool,
    async transaction(work) {
      const client = await pool.connect()
      try {
        await client.query('begin')
        await work(inside(client))
        await client.query('commit')
      } catch (error) {
        await client.query('rollback')
        throw error
      } finally {
        client.release()
      }
    },
    close: () => pool.end(),
  }
}

function inside(client: pg.PoolClient): Transaction {
  return {
    executor: client,
    insert: (item) => client.query('insert into example_order (item) values ($1)', [item]),
    async savepoint(work) {
      await client.query('savepoint inner_one')
      try {
        await work(inside(client))
      } catch (error) {
        await client.query('rollback to inner_one')
        throw error
      }
    },
  }
}
