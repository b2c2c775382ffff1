/* Begins anew: an account with nothing on it, and a payment of 5 that waits in the queue "example-payments". The books are in the
 * database of the queue, or in LEDGER_URL. Needs a database with Postbag in it (DATABASE_URL). */
import pg from 'pg'
import { postbag } from 'postbag'
import { books, type Payment } from './books.ts'

const queueDb = new pg.Client(process.env['DATABASE_URL'])
const ledgerDb = new pg.Client(process.env['LEDGER_URL'] ?? process.env['DATABASE_URL'])
await Promise.all([queueDb.connect(), ledgerDb.connect()])
await ledgerDb.query(books)
await ledgerDb.query('insert into example_balance values (7, 0)')

const payments = postbag({ executor: queueDb }).queue('example-payments')
// What fails (the provider says 503, say) comes again after a pause, and in the end is a dead letter for people to look at.
await payments.create({ retryDelaySeconds: 10, maxAttempts: 20 })
await payments.purge()
await payments.send({ account: 7, amount: 5 } satisfies Payment, { type: 'payment.due' })
await Promise.all([queueDb.end(), ledgerDb.end()])
console.log('a payment of 5 to account 7 waits')
