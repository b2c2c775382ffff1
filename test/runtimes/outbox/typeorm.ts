/* TypeORM. */
import { DataSource, type EntityManager, EntitySchema } from 'typeorm'
import { fromTypeOrm } from '../../../src/outbox/typeorm.ts'
import type { Library, Transaction } from './library.ts'

const ExampleOrder = new EntitySchema<{ id: number; item: string }>({
  name: 'ExampleOrder',
  tableName: 'example_order',
  columns: { id: { type: 'integer', primary: true, generated: 'increment' }, item: { type: 'text' } },
})

export async function openTypeOrm(url: string): Promise<Library> {
  const source = await new DataSource({ type: 'postgres', url, entities: [ExampleOrder] }).initialize()
  return {
    executor: fromTypeOrm(source),
    transaction: (work) => source.transaction((manager) => work(inside(manager))),
    close: () => source.destroy(),
  }
}

function inside(manager: EntityManager): Transaction {
  return {
    executor: fromTypeOrm(manager),
    insert: (item) => manager.save(ExampleOrder, { item }),
    savepoint: (work) => manager.transaction((inner) => work(inside(inner))),
  }
}
