/* The Worker's own duties; what it shares with every runtime is in test/conformance/. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { signToken } from '../../src/http/token.ts'
import { bundle } from '../runtimes/bundle.ts'
import { type RunningWorker, startWorker } from '../runtimes/workerd.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))
const secret = 'a secret of thirty-two characters'

/** What the Worker weighs, compressed, in bytes: as measured, and some 15 % for what is to come. Cloudflare allows 3 MB. */
const mostGzipBytes = 200_000

describe('the connections of a Worker', () => {
  let database: TestDatabase
  let proxy: TcpProxy
  let running: RunningWorker
  let authorization: string
  before(async () => {
    database = await createDatabase()
    proxy = await startTcpProxy(database.url)
    running = await startWorker(entry, proxy.url, { vars: { POSTBAG_SECRET: secret }, onLog: () => {} })
    authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`
  })
  after(async () => {
    await running.stop()
    await proxy.stop()
  })

  const request = (method: string, path: string, body?: object, headers: object = { authorization }) =>
    fetch(`${running.url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    })

  test('a request that is refused, or needs no database, opens none', async () => {
    const earlier = proxy.connections

    assert.equal((await request('GET', '/v1/queues', undefined, {})).status, 401)
    assert.equal((await request('PUT', '/v1/queues/a', { no: 'such field' })).status, 400)
    assert.equal((await request('GET', '/v1/nothing')).status, 404)
    assert.equal((await request('GET', '/healthz')).status, 200)

    assert.equal(proxy.connections, earlier)
  })

  test('its cron trigger removes what has expired in queues that nobody uses, and leaves no connection behind', async () => {
    await database.pool.query(`select postbag.create_queue('rests', ttl => '1 h')`)
    await database.pool.query(`select postbag.send('rests', '1', now => now() - interval '2 h')`)

    await running.scheduled()

    const { rows } = await database.pool.query('select count(*)::integer as number from postbag.message')
    assert.deepEqual(rows, [{ number: 0 }])
    const open = `select from pg_stat_activity where application_name = 'postbag' and datname = current_database()`
    await until('the end of its connection', async () => (await database.pool.query(open)).rowCount === 0 || undefined)
  })

  test('a request opens one, however long it waits, and leaves none behind', async () => {
    assert.equal((await request('PUT', '/v1/queues/waits', {})).status, 201)
    const earlier = proxy.connections

    assert.equal((await request('POST', '/v1/queues/waits/receive', { waitSeconds: 1 })).status, 200)

    assert.equal(proxy.connections, earlier + 1)
    const open = `select from pg_stat_activity where application_name = 'postbag' and datname = current_database()`
    await until('the end of its connection', async () => (await database.pool.query(open)).rowCount === 0 || undefined)
  })

  test('requests at the same time, and one after another, do not hang on each other’s connections', async () => {
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => request('GET', '/v1/queues')))
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    }
  })
})

describe('a Worker that lacks a setting', () => {
  const nobody = 'postgres://nobody:nothing@127.0.0.1:1/nothing'
  const lacking = [
    ['the secret', nobody, {}, /POSTBAG_SECRET is not set/],
    ['a secret of enough characters', nobody, { POSTBAG_SECRET: 'short' }, /at least 32 characters, got 5/],
    ['the binding', undefined, { POSTBAG_SECRET: secret }, /no binding HYPERDRIVE/],
    [
      'a number of objects',
      nobody,
      { POSTBAG_SECRET: secret, DATABASE_DIRECT_URL: nobody, HUB_OBJECTS: 'two' },
      /HUB_OBJECTS must be a whole number between 1 and 1000, got two/,
    ],
    [
      'a number of seconds',
      nobody,
      { POSTBAG_SECRET: secret, DATABASE_DIRECT_URL: nobody, HUB_LINGER_SECONDS: '1 min' },
      /HUB_LINGER_SECONDS must be a whole number between 0 and 86400, got 1 min/,
    ],
    [
      'a direct address that can be read',
      nobody,
      { POSTBAG_SECRET: secret, DATABASE_DIRECT_URL: 'postgres://me:s3#cret@db.example/app' },
      /DATABASE_DIRECT_URL cannot be read: .*# as %23/,
    ],
  ] as const
  for (const [what, databaseUrl, vars, detail] of lacking) {
    test(`without ${what} answers every request 500 and says what is missing, also in the log`, async () => {
      const log: string[] = []
      const lacks = await startWorker(entry, databaseUrl, { vars, hub: true, onLog: (line) => log.push(line) })
      for (const path of ['/v1/queues', '/healthz', '/openapi.json']) {
        const answer = await fetch(`${lacks.url}${path}`)

        assert.equal(answer.status, 500)
        assert.equal(answer.headers.get('content-type'), 'application/problem+json')
        const problem = (await answer.json()) as { code: string; detail: string }
        assert.equal(problem.code, 'internal')
        assert.match(problem.detail, detail)
      }
      await until('the log', async () => log.filter((line) => detail.test(line)).length === 3 || undefined)
      await lacks.stop()
    })
  }
})

describe('what is deployed', () => {
  test(`weighs less than ${mostGzipBytes} bytes, compressed`, async (t) => {
    const { gzipBytes } = await bundle(entry)

    t.diagnostic(`${gzipBytes} bytes`)
    assert.ok(gzipBytes < mostGzipBytes, `${gzipBytes} bytes`)
  })

  test('is the entry, the class and the bindings that wrangler.toml names', () => {
    const toml = readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8')

    assert.match(toml, /^main = "functions\/cloudflare\.ts"$/m)
    assert.match(toml, /^binding = "HYPERDRIVE"$/m)
    assert.match(toml, /^class_name = "WakeupHub"$/m)
    assert.match(toml, /^new_sqlite_classes = \["WakeupHub"\]$/m)
    assert.match(toml, /^name = "WEBHOOKS"\nclass_name = "WebhookAlarm"$/m)
    assert.match(toml, /^new_sqlite_classes = \["WebhookAlarm"\]$/m)
    assert.match(toml, /^compatibility_flags = .*"enable_request_signal"/m)
  })
})
