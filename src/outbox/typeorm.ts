/* Send in a TypeORM transaction.
 *
 *   await dataSource.transaction(async (manager) => {
 *     await manager.save(Order, { id: 1 })
 *     await postbag({ executor: fromTypeOrm(manager) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { through } from '../db/through.ts'

/** An EntityManager, a QueryRunner or a DataSource, as far as we need it. */
export interface TypeOrmHandle {
  query(text: string, values: (string | null)[]): PromiseLike<unknown>
}

/** An executor in the transaction of an EntityManager or QueryRunner; in none if it is given the DataSource. */
export function fromTypeOrm(manager: TypeOrmHandle): Executor {
  return through((text, values) => manager.query(text, values))
}
