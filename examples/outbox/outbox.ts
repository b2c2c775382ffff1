/* The transactional outbox with no outbox: an order and its message are written in one transaction of your own database, so there is
 * never one without the other. Needs a database with Postbag in it (DATABASE_URL, npx postbag migrate); begins anew at every run. */
import pg from 'pg'
import { postbag } from 'postbag'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] })
await pool.query(`
  drop table if exists example_order;
  create table example_order (id bigint generated always as identity primary key, item text);
`)
const orders = postbag({ executor: pool }).queue('example-orders')
await orders.create()
await orders.purge()

/** Writes the order and sends its message; both or neither. */
async function order(item: string): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const { rows } = await client.query('insert into example_order (item) values ($1) returning id', [item])
    await postbag({ executor: client })
      .queue('example-orders')
      .send({ orderId: rows[0].id, item }, { type: 'order.created' })
    if (item === 'unicorn') throw new Error('out of unicorns')
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    console.log(`rolled back: ${error instanceof Error ? error.message : error}`)
  } finally {
    client.release()
  }
}

await order('book')
await order('unicorn')

const rows = await pool.query('select item from example_order')
console.log(`orders: ${rows.rows.map(({ item }) => item).join(', ')}`)
for (const message of await orders.receive({ max: 10 })) {
  console.log(`message: ${JSON.stringify(message.body)}`)
  await orders.ack([message.receipt])
}
await pool.end()
