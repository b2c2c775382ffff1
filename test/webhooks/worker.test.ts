/* Webhooks of a Worker: after the answer, when the alarm rings, and by cron. Each test has a Worker of its own, and a database. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { AttemptListResponse, DeliverResponse, EndpointInfo } from '../../src/wire.ts'
import { authorization, secret } from '../functions/worker-world.ts'
import { startWorker, type WorkerOptions } from '../runtimes/workerd.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { startReceiver, verified } from './webhook-receiver.ts'
import { maintainInstead } from './webhook-world.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))

const vars = {
  POSTBAG_SECRET: secret,
  POSTBAG_WEBHOOK_KEY: randomBytes(32).toString('base64'),
  POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'true',
}

/** With an endpoint for what is published to `events`. */
async function newWorld(t: TestContext, options: WorkerOptions = {}, config: object = {}, answer = [200]) {
  const { pool, url } = await createDatabase()
  const log: string[] = []
  const worker = await startWorker(entry, url, {
    ...options,
    vars: { ...vars, ...options.vars },
    onLog: (line) => log.push(line),
  })
  const receiver = await startReceiver((_, response) => response.writeHead(answer.shift() ?? 200).end())
  t.after(() => Promise.all([worker.stop(), receiver.stop()]))
  const call = async <Answer>(method: string, path: string, body?: object) => {
    const headers = { authorization, 'content-type': 'application/json' }
    const response = await fetch(`${worker.url}${path}`, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    })
    assert.ok(response.ok, await response.clone().text())
    return (await response.json()) as Answer
  }
  await call('PUT', '/v1/exchanges/events', { type: 'fanout' })
  const endpoint = { url: receiver.url, exchange: 'events', ...config }
  const created = await call<EndpointInfo>('PUT', '/v1/endpoints/one', endpoint)
  return {
    pool,
    worker,
    receiver,
    log,
    secret: created.secret,
    call,
    publish: (...bodies: unknown[]) =>
      call('POST', '/v1/exchanges/events/publish', { messages: bodies.map((body) => ({ body })) }),
    publishInSql: () => pool.query(`select postbag.publish('events', '{"in": "SQL"}')`),
    noted: (count: number) =>
      until(`${count} attempts`, async () => {
        const { attempts } = await call<AttemptListResponse>('GET', '/v1/endpoints/one/attempts')
        return attempts.length >= count ? attempts : undefined
      }),
  }
}

test('what is published arrives after the answer, signed, and its connection is closed', async (t) => {
  const world = await newWorld(t)

  await world.publish({ id: 1 }, { id: 2 })
  const [attempt] = await world.noted(2)

  assert.equal(attempt?.outcome, 'delivered')
  const bodies = world.receiver.got.map((request) => verified(world.secret, request))
  assert.deepEqual(bodies.map((body) => (body as { id: number }).id).sort(), [1, 2])
  const open = `select from pg_stat_activity where application_name = 'postbag' and datname = current_database()`
  await until('the end of its connection', async () => (await world.pool.query(open)).rowCount === 0 || undefined)
})

test('what failed is tried again when the alarm of the object rings, at the time that the endpoint says', async (t) => {
  const world = await newWorld(t, { alarm: true }, { retriesSeconds: [1, 1] }, [500, 503])

  await world.publish({ id: 1 })
  const attempts = await world.noted(3)

  assert.deepEqual(
    attempts.map(({ number, status }) => [number, status]),
    [
      [3, 200],
      [2, 503],
      [1, 500],
    ],
  )
  const [third = 0, , first = 0] = attempts.map(({ startedAt }) => Date.parse(startedAt))
  assert.ok(third - first >= 2000 && third - first < 10_000, `${third - first} ms`)
})

test('an invocation makes no more attempts than it may; the alarm goes on with the rest', async (t) => {
  const world = await newWorld(t, { alarm: true, vars: { WEBHOOK_ATTEMPTS: '2', WEBHOOK_SLOTS: '2' } })

  await world.publish(...Array.from({ length: 9 }, (_, id) => ({ id })))
  await world.noted(9)

  const ids = world.receiver.got.map(({ headers }) => headers['webhook-id'])
  assert.deepEqual([ids.length, new Set(ids).size], [9, 9])
})

test('cron delivers what was published in SQL, and without an object waits for retries that are due soon', async (t) => {
  const world = await newWorld(t, {}, { retriesSeconds: [1] }, [500])

  await world.publishInSql()
  await world.worker.scheduled()

  assert.equal(world.receiver.got.length, 2)
  assert.deepEqual(verified(world.secret, world.receiver.got[1]), { in: 'SQL' })
})

test('cron that cannot clear away delivers all the same, and fails after that', async (t) => {
  const world = await newWorld(t)
  await maintainInstead(world.pool, `raise 'nothing is cleared away today'`)
  await world.publishInSql()

  await assert.rejects(world.worker.scheduled(), /ended with exception/)

  assert.equal(world.receiver.got.length, 1)
  await until('the log', async () => world.log.find((line) => line.includes('SQLSTATE P0001')))
})

test('a clock outside may do that, too; what is left is told', async (t) => {
  const world = await newWorld(t, {}, { retriesSeconds: [100] }, [500])
  await world.publishInSql()

  const first = await world.call<DeliverResponse>('POST', '/v1/deliver', {})

  assert.equal(first.attempts, 1)
  const { dueInSeconds = 0 } = first
  assert.ok(dueInSeconds > 90 && dueInSeconds <= 120, String(dueInSeconds))
})

test('a setting that is wrong is said in the log, and the request is answered', async (t) => {
  const world = await newWorld(t, { vars: { WEBHOOK_SLOTS: 'many' } })

  await world.publish({ id: 1 })

  await until('the log', async () =>
    world.log.find((line) => line.includes('WEBHOOK_SLOTS must be a whole number between 1 and 1000, got many')),
  )
})
