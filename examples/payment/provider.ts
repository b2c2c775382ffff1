/* Pays what waits through a provider over HTTP, each payment exactly once. No transaction reaches the provider, so the call may be made
 * again; the message's id is its idempotency key, which makes all calls for one message a single charge. What the provider answers is
 * booked with the ack, in one transaction. Needs DATABASE_URL, payment/prepare, and PROVIDER_URL (payment/provider-server is one to
 * try). */
import pg from 'pg'
import { postbag } from 'postbag'
import { book, type Payment } from './books.ts'

const { DATABASE_URL, PROVIDER_URL = 'http://127.0.0.1:8790' } = process.env
const db = new pg.Client(DATABASE_URL)
await db.connect()
const payments = postbag({ executor: db }).queue('example-payments')

for (;;) {
  const [message] = await payments.receive()
  if (!message) break
  const payment = message.body as Payment
  // All that is sent comes from the message, so that each call for it says the same; else the provider refuses the key.
  const response = await fetch(`${PROVIDER_URL}/charges`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': `example-payments-${message.id}` },
    body: JSON.stringify(payment),
  })
  if (!response.ok) {
    await payments.nack([message.receipt], { error: `the provider says ${response.status}` })
    continue
  }
  const { charge } = (await response.json()) as { charge: string }
  await db.query('begin')
  await book(db, payment, charge)
  const [settled] = await payments.ack([message.receipt])
  const isBooked = settled?.outcome === 'ok'
  await db.query(isBooked ? 'commit' : 'rollback')
  console.log(`${isBooked ? 'paid' : 'left to somebody else'}: ${JSON.stringify(payment)}`)
}
await db.end()
