/* Send in a MikroORM transaction (version 7, which stands on Kysely).
 *
 *   await orm.em.transactional(async (em) => {
 *     em.create(Order, { id: 1 })
 *     await postbag({ executor: fromMikroOrm(em) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { executorOf, type KyselyHandle } from '../db/connect.ts'

/** An EntityManager of @mikro-orm/postgresql, as far as we need it. */
export interface MikroOrmHandle {
  getTransactionContext(): KyselyHandle | undefined
  getConnection(): { getClient(): KyselyHandle }
}

/** An executor in the transaction that the EntityManager is in at the time of each call; in none if it is in none.
 * It does not flush: what the EntityManager holds is written before the commit, and so goes with the message all the same.
 * (Not `getConnection().execute()`: that writes values into the text of the statement.) */
export function fromMikroOrm(em: MikroOrmHandle): Executor {
  return {
    query: (text, values) =>
      executorOf(em.getTransactionContext() ?? em.getConnection().getClient()).query(text, values),
  }
}
