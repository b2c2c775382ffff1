/* Send in a Prisma transaction (an interactive one: `$transaction` with a function).
 *
 *   await prisma.$transaction(async (tx) => {
 *     await tx.order.create({ data: { id: 1 } })
 *     await postbag({ executor: fromPrisma(tx) }).queue('orders').send({ id: 1 })
 *   }) */
import type { Executor } from '../db/call.ts'
import { through } from '../db/through.ts'

/** A PrismaClient or the client of a transaction, as far as we need it. */
export interface PrismaHandle {
  $queryRawUnsafe(text: string, ...values: (string | null)[]): PromiseLike<unknown>
}

/** An executor in a Prisma transaction; in none if it is given the PrismaClient. The text is all ours, which is what makes
 * `$queryRawUnsafe` safe. */
export function fromPrisma(tx: PrismaHandle): Executor {
  return through((text, values) => tx.$queryRawUnsafe(text, ...values), databaseError)
}

/** What Prisma tells of the database's error: P2010 and meta, where a driver adapter put code and message. The constraint's name is in the
 * message only. */
function databaseError(error: unknown): unknown {
  const { meta } = error as {
    meta?: { driverAdapterError?: { cause?: { originalCode?: string; originalMessage?: string } } }
  }
  const { originalCode: code, originalMessage: message = '' } = meta?.driverAdapterError?.cause ?? {}
  return (
    code &&
    Object.assign(new Error(message, { cause: error }), { code, constraint: /constraint "(\w+)"/.exec(message)?.[1] })
  )
}
