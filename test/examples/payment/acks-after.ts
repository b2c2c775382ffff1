/* A consumer as it should not be: it acks after its commit, with no inbox. */
import pg from 'pg'
import { postbag } from 'postbag'
import { book, type Payment } from '../../../examples/payment/books.ts'

const db = new pg.Client(process.env['DATABASE_URL'])
await db.connect()
const payments = postbag({ executor: db }).queue('example-payments')
for (const { body, receipt } of await payments.receive()) {
  await db.query('begin')
  await book(db, body as Payment)
  await db.query('commit')
  await payments.ack([receipt])
}
await db.end()
