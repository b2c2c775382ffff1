/* Pays what waits, each payment exactly once: the books are in the database of the queue, and the ack is in their transaction. Kill it
 * wherever you like, and start it again: what was not committed comes back when its lease ends. Needs DATABASE_URL, and payment/prepare. */
import pg from 'pg'
import { postbag } from 'postbag'
import { book, type Payment } from './books.ts'

const db = new pg.Client(process.env['DATABASE_URL'])
await db.connect()
const payments = postbag({ executor: db }).queue('example-payments')

for (;;) {
  // Not in the transaction of the work: the lease is to be seen by others at once.
  const [message] = await payments.receive()
  if (!message) break
  await db.query('begin')
  await book(db, message.body as Payment)
  const [settled] = await payments.ack([message.receipt])
  // Anything but ok: the lease ended, and somebody else has it, or has paid.
  const isPaid = settled?.outcome === 'ok'
  await db.query(isPaid ? 'commit' : 'rollback')
  console.log(`${isPaid ? 'paid' : 'left to somebody else'}: ${JSON.stringify(message.body)}`)
}
await db.end()
