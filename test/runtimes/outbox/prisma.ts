/* Prisma, with its driver adapter for pg. The client in ../prisma/generated is as `prisma generate` wrote it. */
import { PrismaPg } from '@prisma/adapter-pg'
import { fromPrisma } from '../../../src/outbox/prisma.ts'
import { type Prisma, PrismaClient } from '../prisma/generated/client.ts'
import type { Library, Transaction } from './library.ts'

export async function openPrisma(url: string): Promise<Library> {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) })
  return {
    executor: fromPrisma(prisma),
    transaction: (work) => prisma.$transaction((tx) => work(inside(tx))),
    close: () => prisma.$disconnect(),
  }
}

function inside(tx: Prisma.TransactionClient): Transaction {
  return {
    executor: fromPrisma(tx),
    insert: (item) => tx.exampleOrder.create({ data: { item } }),
    async savepoint(work) {
      await tx.$executeRaw`savepoint inner_one`
      try {
        await work(inside(tx))
      } catch (error) {
        await tx.$executeRaw`rollback to inner_one`
        throw error
      }
    },
  }
}
