/* Pays what waits, each payment exactly once: the books are in a database of their own (LEDGER_URL, with Postbag's schema in it), which
 * notes in the transaction of the work which messages it has seen. A message that comes again, because its ack was lost, is acked and no
 * more. Needs DATABASE_URL, and payment/prepare. */
import pg from 'pg'
import { postbag } from 'postbag'
import { book, type Payment } from './books.ts'

const queueDb = new pg.Client(process.env['DATABASE_URL'])
const ledgerDb = new pg.Client(process.env['LEDGER_URL'])
await queueDb.connect()
await ledgerDb.connect()
const payments = postbag({ executor: queueDb }).queue('example-payments')
const { inbox } = postbag({ executor: ledgerDb })

for (;;) {
  const [message] = await payments.receive()
  if (!message) break
  await ledgerDb.query('begin')
  const isNew = await inbox('payments', message.id)
  if (isNew) await book(ledgerDb, message.body as Payment)
  await ledgerDb.query('commit')
  // Only now: an ack before the commit would lose the payment if this process ended in between.
  await payments.ack([message.receipt])
  console.log(`${isNew ? 'paid' : 'paid before'}: ${JSON.stringify(message.body)}`)
}
await Promise.all([queueDb.end(), ledgerDb.end()])
