/* What publishing costs: how many bindings an exchange has must not matter; how many queues a message reaches must, once per copy. And what a
 * body that is stored once per message, and not once per copy, would save: the same rows written by hand, both ways. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { type Bench, type Database, rates } from '../bench.ts'
import { type Measured, measure, medianRatio } from '../measure.ts'

export const title = 'Publish'
export const measures =
  'Single publishes in SQL on 8 connections, 200-byte bodies. Publishes per second by bindings of a topic exchange, of which one fits; copies per second by the queues that a message reaches.'

const connections = 8

export async function run(bench: Bench): Promise<void> {
  await byBindings(bench)
  await byFanOut(bench)
  await bodiesOnce(bench)
}

async function byBindings(bench: Bench): Promise<void> {
  const runners = []
  for (const bindings of bench.variants([1, 100, 10_000])) {
    const count = bench.count(bindings)
    const database = await bench.database(`bindings_${bindings}`, async ({ pool }) => {
      await pool.query(`select postbag.create_queue('all'), postbag.declare_exchange('events', type => 'topic')`)
      await pool.query(
        `select count(postbag.bind('events', queue => 'all', routing_key => 'tenant-' || n || '.*.created')) from generate_series(1, $1::int) as n`,
        [count],
      )
    })
    const key = () => `tenant-${1 + Math.floor(Math.random() * count)}.order.created`
    runners.push({
      name: `${bindings.toLocaleString('en')} binding${bindings > 1 ? 's' : ''}`,
      measure: () => publishing(database, bench.seconds(2.5), 1, key),
    })
  }
  const [one, ...others] = await bench.inTurn('bindings of a topic exchange', runners, 'publishes/s')
  const many = others.at(-1)
  if (many)
    bench.mustHold('publishes with 10,000 bindings against one', 'at least', 0.85, medianRatio(rates(many), rates(one)))
}

async function byFanOut(bench: Bench): Promise<void> {
  const runners = []
  for (const queues of bench.variants([1, 10, 1000])) {
    const count = bench.count(queues)
    const database = await bench.database(`fan_out_${queues}`, async ({ pool }) => {
      await pool.query(`select postbag.declare_exchange('events', type => 'fanout')`)
      await pool.query(
        `select count(postbag.bind('events', queue => made.name)) from generate_series(1, $1::int) as n, lateral postbag.create_queue('queue-' || n) as made`,
        [count],
      )
    })
    runners.push({
      name: `${queues.toLocaleString('en')} queue${queues > 1 ? 's' : ''}`,
      measure: () => publishing(database, bench.seconds(2.5), count, () => ''),
    })
  }
  await bench.inTurn('queues that each message reaches', runners, 'copies/s')
}

async function publishing(
  { url }: Database,
  seconds: number,
  copies: number,
  routingKey: () => string,
): Promise<Measured> {
  const body = JSON.stringify({ text: 'x'.repeat(189) })
  return withClients(url, seconds, (client) => async () => {
    await client.query({
      name: 'publish',
      text: 'select queues from postbag.publish_batch($1, $2::jsonb, alone => true)',
      values: ['events', `[{"json":${JSON.stringify(body)},"routingKey":"${routingKey()}"}]`],
    })
    return copies
  })
}

/** From which size on a body that several copies share pays (migrations: publish_plainly.sql): the rows of a message to 10 queues, written by
 * hand, read and removed one by one as receivers would; with a body in each, or with one beside them that is removed afterwards. */
async function bodiesOnce(bench: Bench): Promise<void> {
  const database = await bench.database('bodies_once', async ({ pool }) => {
    await pool.query(`create table copied (copy_id bigint generated always as identity primary key, body text);
      create table shared (copy_id bigint generated always as identity primary key, body_id bigint);
      create table body (body_id bigint generated always as identity primary key, body text)`)
  })
  for (const [name, bytes] of bench.variants([
    ['2 kB', 2000],
    ['8 kB', 8000],
    ['64 kB', 64_000],
  ] as const)) {
    const body = randomBytes(bytes / 2).toString('hex')
    await bench.inTurn(
      `${name} bodies, 10 copies written, read and removed`,
      [
        {
          name: 'a body per copy',
          measure: () =>
            withClients(database.url, bench.seconds(2), (client) => async () => {
              const { rows } = await client.query(
                `insert into copied (body) select $1 from generate_series(1, 10) returning copy_id`,
                [body],
              )
              for (const { copy_id } of rows) {
                await client.query('delete from copied where copy_id = $1 returning body', [copy_id])
              }
              return 10
            }),
        },
        {
          name: 'a body per message',
          measure: () =>
            withClients(database.url, bench.seconds(2), (client) => async () => {
              const { rows } = await client.query(
                `with stored as (insert into body (body) values ($1) returning body_id)
              insert into shared (body_id) select stored.body_id from stored, generate_series(1, 10) returning copy_id, body_id`,
                [body],
              )
              for (const { copy_id } of rows) {
                await client.query(
                  `with gone as (delete from shared where copy_id = $1 returning body_id)
                  select body.body from gone join body using (body_id)`,
                  [copy_id],
                )
              }
              await client.query(
                'delete from body where body_id = $1 and not exists (select from shared where shared.copy_id = any ($2))',
                [rows[0].body_id, rows.map(({ copy_id }) => copy_id)],
              )
              return 10
            }),
        },
      ],
      'copies/s',
    )
  }
}

async function withClients(
  url: string,
  seconds: number,
  round: (client: pg.PoolClient) => () => Promise<number>,
): Promise<Measured> {
  const pool = new pg.Pool({ connectionString: url, max: connections })
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()))
  try {
    return await measure(clients.map(round), { seconds })
  } finally {
    for (const client of clients) client.release()
    await pool.end()
  }
}
