/* MikroORM. */
import { defineEntity, type EntityManager, MikroORM, p } from '@mikro-orm/postgresql'
import { fromMikroOrm } from '../../../src/outbox/mikro-orm.ts'
import type { Library, Transaction } from './library.ts'

const ExampleOrder = defineEntity({
  name: 'ExampleOrder',
  tableName: 'example_order',
  properties: { id: p.integer().primary().autoincrement(), item: p.text() },
})

export async function openMikroOrm(url: string): Promise<Library> {
  const orm = await MikroORM.init({ clientUrl: url, entities: [ExampleOrder] })
  return {
    executor: fromMikroOrm(orm.em.fork()),
    transaction: (work) => orm.em.fork().transactional((em) => work(inside(em))),
    close: () => orm.close(),
  }
}

function inside(em: EntityManager): Transaction {
  return {
    executor: fromMikroOrm(em),
    insert: async (item) => em.create(ExampleOrder, { item }),
    savepoint: (work) => em.transactional((inner) => work(inside(inner))),
  }
}
