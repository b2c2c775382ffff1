/* A consumer as it should not be: it acks before its work. */
import pg from 'pg'
import { postbag } from 'postbag'
import { book, type Payment } from '../../../examples/payment/books.ts'

const db = new pg.Client(process.env['DATABASE_URL'])
await db.connect()
const payments = postbag({ executor: db }).queue('example-payments')
for (const { body, receipt } of await payments.receive()) {
  await payments.ack([receipt])
  await db.query('begin')
  await book(db, body as Payment)
  await db.query('commit')
}
await db.end()
