/* A server that has nothing to deliver asks nothing: the database tells it of what is published, and it knows when to try again. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startServer } from '../../functions/node.ts'
import { webhookSettings } from '../../src/config.ts'
import { until } from '../support/until.ts'
import { listenerSettles, watchers } from '../wakeup/waiting.ts'
import { createWebhookWorld, type WorldOptions } from './webhook-world.ts'

/** With a server that watches, and is sure that there is nothing. */
async function newWorld(t: TestContext, options?: WorldOptions) {
  const world = await createWebhookWorld(options)
  const server = await startServer({
    access: { kind: 'open' },
    databaseUrl: world.url,
    webhooks: webhookSettings(world.env),
    host: '127.0.0.1',
    port: 0,
    log: () => {},
  })
  t.after(() => Promise.all([server.stop(), world.receiver.stop()]))
  const isTold = () => until('the server to watch', async () => (await watchers(world.pool, '~webhooks'))[0])
  await isTold()
  return { ...world, isTold }
}

/** When each of the server's connections was asked last; but for pings, which ask no table. */
async function lastAsked({ pool }: Awaited<ReturnType<typeof newWorld>>): Promise<readonly string[]> {
  const { rows } = await pool.query(
    `select pid || ' ' || query_start || ' ' || query as last from pg_stat_activity
    where application_name like 'postbag%' and datname = current_database() and query ~ 'postbag\\.' order by pid`,
  )
  return rows.map(({ last }) => last)
}

test('while nothing is published it asks nothing, and it delivers at once what is published in SQL', async (t) => {
  const world = await newWorld(t)
  await listenerSettles(world.pool)
  const before = await lastAsked(world)
  await sleep(2500)
  assert.deepEqual(await lastAsked(world), before)

  for (let round = 1; round <= 5; round++) {
    await world.isTold()
    const started = performance.now()
    await world.publishInSql()
    await until('the event', async () => world.receiver.got[round - 1])
    t.diagnostic(`${Math.round(performance.now() - started)} ms`)
  }
  assert.equal((await world.noted(5)).length, 5)
})

test('what failed is tried again at its time, without a look before', async (t) => {
  const world = await newWorld(t, { statuses: [500], config: { retries: ['3 s'] } })
  await world.publishInSql()
  await world.noted(1)
  await world.isTold()
  await listenerSettles(world.pool)
  const before = await lastAsked(world)
  await sleep(500)
  assert.deepEqual(await lastAsked(world), before)

  const [second, first] = await world.noted(2)

  const millis = Number(second?.['started_at']) - Number(first?.['started_at'])
  assert.ok(millis >= 3000, `${millis} ms`)
})
