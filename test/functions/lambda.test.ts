/* The Lambda function's own duties; what it shares with every runtime is in test/conformance/. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { signToken } from '../../src/http/token.ts'
import { type LambdaOptions, type RunningLambda, startLambda } from '../runtimes/lambda.ts'
import { nodeBundle } from '../runtimes/node-bundle.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { startTransactionPooler } from '../support/transaction-pooler.ts'

const entry = fileURLToPath(new URL('../../functions/lambda.ts', import.meta.url))
const secret = 'a secret of thirty-two characters'
const token = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`

/** What it weighs, compressed, in bytes: as measured, and some 15 % for what is to come. */
const mostGzipBytes = 200_000

let database: TestDatabase
let proxy: TcpProxy
before(async () => {
  database = await createDatabase()
  proxy = await startTcpProxy(database.url)
})
after(() => proxy.stop())

async function start(
  t: { after(work: () => Promise<void>): void },
  { env, ...options }: Partial<LambdaOptions> = {},
): Promise<RunningLambda> {
  const running = await startLambda(entry, {
    env: { DATABASE_URL: proxy.url, POSTBAG_SECRET: secret, ...env },
    onLog: () => {},
    ...options,
  })
  t.after(() => running.stop())
  return running
}

function request(running: RunningLambda, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${running.url}/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json', authorization: token },
    ...(body && { body: JSON.stringify(body) }),
  })
}

describe('the connection of an instance', () => {
  test('is kept from request to request', async (t) => {
    const running = await start(t)
    const earlier = proxy.connections

    for (let round = 0; round < 5; round++) assert.equal((await request(running, 'GET', '/queues')).status, 200)

    assert.equal(running.instances.length, 1)
    assert.equal(proxy.connections, earlier + 1)
  })

  test('that was cut while the instance was frozen, for a moment or for longer, fails no request', async (t) => {
    const running = await start(t)

    for (const millis of [0, 0, 0, 1100, 1100]) {
      assert.equal((await request(running, 'GET', '/queues')).status, 200)
      proxy.cut()
      await sleep(millis)
      assert.equal((await request(running, 'PUT', '/queues/thawed', {})).ok, true)
    }

    assert.equal(running.instances.length, 1)
  })

  test('may also be gone without a word: it is asked before it is used after a rest', async (t) => {
    const running = await start(t)
    assert.equal((await request(running, 'GET', '/queues')).status, 200)
    proxy.blackHole()
    await proxy.restore()
    await sleep(1100)

    assert.equal((await request(running, 'GET', '/queues')).status, 200)

    assert.equal(running.instances.length, 1)
  })
})

test('a wait ends before the function’s time is over', async (t) => {
  const running = await start(t, { timeoutMillis: 3000 })
  await request(running, 'PUT', '/queues/bounded', {})

  const answer = await request(running, 'POST', '/queues/bounded/receive', { waitSeconds: 20 })

  assert.equal(answer.status, 200)
  assert.deepEqual(await answer.json(), { messages: [] })
})

test('an answer of more than 6 MB gets through as a stream, and not otherwise', async (t) => {
  const running = { handler: await start(t), streamHandler: await start(t, { handler: 'streamHandler' }) }
  await request(running.handler, 'PUT', '/queues/large', { leaseSeconds: 0 })
  for (let part = 0; part < 7; part++) {
    await request(running.handler, 'POST', '/queues/large/messages', { body: 'x'.repeat(1_000_000) })
  }

  const buffered = await request(running.handler, 'POST', '/queues/large/receive', { max: 10 })
  const streamed = await request(running.streamHandler, 'POST', '/queues/large/receive', { max: 10 })

  assert.equal(buffered.status, 502)
  assert.equal(((await streamed.json()) as { messages: unknown[] }).messages.length, 7)
})

test('a schedule clears away what has expired in queues that nobody uses', async (t) => {
  const running = await start(t, { handler: 'scheduled' })
  await database.pool.query(`select postbag.create_queue('rests', ttl => '1 h')`)
  await database.pool.query(`select postbag.send('rests', '1', now => now() - interval '2 h')`)

  await running.invoke({
    version: '0',
    id: '53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa',
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: '123456789012',
    time: '2026-10-08T16:53:06Z',
    region: 'eu-central-1',
    resources: ['arn:aws:events:eu-central-1:123456789012:rule/postbag'],
    detail: {},
  })

  const { rowCount } = await database.pool.query(
    `select from postbag.message join postbag.queue using (queue_id) where name = 'rests'`,
  )
  assert.equal(rowCount, 0)
})

test('behind a transaction pooler that knows no prepared statements, messages go and come', async (t) => {
  const pooler = await startTransactionPooler(database.url)
  const running = await start(t, { env: { DATABASE_URL: pooler.url } })
  t.after(() => pooler.stop())
  await request(running, 'PUT', '/queues/pooled', {})

  const waiting = request(running, 'POST', '/queues/pooled/receive', { waitSeconds: 20 })
  const sent = await Promise.all([1, 2, 3].map((body) => request(running, 'POST', '/queues/pooled/messages', { body })))

  for (const { status } of sent) assert.equal(status, 201)
  const { messages } = (await (await waiting).json()) as { messages: { receipt: string }[] }
  const receipts = messages.map(({ receipt }) => receipt)
  const { results } = (await (await request(running, 'POST', '/queues/pooled/ack', { receipts })).json()) as {
    results: object[]
  }
  assert.deepEqual(results, [{ receipt: receipts[0], outcome: 'ok' }])
})

describe('without a setting every request is answered 500, which says what is missing:', () => {
  for (const [name, value, detail] of [
    ['POSTBAG_SECRET', '', /POSTBAG_SECRET is not set/],
    ['POSTBAG_SECRET', 'short', /at least 32 characters, got 5/],
    ['DATABASE_URL', '', /DATABASE_URL is not set/],
  ] as const) {
    test(`${name} "${value}"`, async (t) => {
      const running = await start(t, { env: { [name]: value } })

      const answer = await fetch(`${running.url}/healthz`)

      assert.equal(answer.status, 500)
      assert.equal(answer.headers.get('content-type'), 'application/problem+json')
      assert.match(((await answer.json()) as { detail: string }).detail, detail)
    })
  }
})

test(`what is deployed weighs less than ${mostGzipBytes} bytes, compressed`, async (t) => {
  const { gzipBytes } = await nodeBundle(entry)

  t.diagnostic(`${gzipBytes} bytes`)
  assert.ok(gzipBytes < mostGzipBytes, `${gzipBytes} bytes`)
})
