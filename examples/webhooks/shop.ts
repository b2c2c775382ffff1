/* A shop that tells its subscribers of orders: the order and its event are written in one transaction, so subscribers hear of what is there,
 * and of nothing else. Needs a database with Postbag in it (DATABASE_URL), and the exchange example-shop.
 *   npm run example webhooks/shop */
import pg from 'pg'
import { postbag } from 'postbag'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] })
await pool.query('drop table if exists example_order')
await pool.query('create table example_order (id bigint generated always as identity primary key, item text)')

async function order(item: string): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const { rows } = await client.query('insert into example_order (item) values ($1) returning id', [item])
    const { queues } = await postbag({ executor: client })
      .exchange('example-shop')
      .publish({ order: Number(rows[0].id), item }, { routingKey: 'order.created', type: 'order.created' })
    if (item === 'unicorn') throw new Error('out of unicorns')
    await client.query('commit')
    console.log(`ordered: ${item}, for ${queues} subscribers`)
  } catch (error) {
    await client.query('rollback')
    console.log(`rolled back: ${error instanceof Error ? error.message : error}`)
  } finally {
    client.release()
  }
}

await order('book')
await order('unicorn')
await pool.end()
