/* The Vercel function's own duties; what it shares with every runtime is in test/conformance/. Its module holds one instance: the tests follow
 * each other, the first before it has a database. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import vercel, { GET } from '../../functions/vercel.ts'
import { signToken } from '../../src/http/token.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startTransactionPooler, type TransactionPooler } from '../support/transaction-pooler.ts'

const secret = 'a secret of thirty-two characters'
const token = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`
const cronSecret = 'what only the cron job knows'

let database: TestDatabase
let pooler: TransactionPooler
before(async () => {
  database = await createDatabase()
  pooler = await startTransactionPooler(database.url)
})
after(() => pooler.stop())

function request(method: string, path: string, body?: object): Promise<Response> {
  return vercel.fetch(
    new Request(`https://postbag.vercel.app/v1${path}`, {
      method,
      headers: { 'content-type': 'application/json', authorization: token },
      ...(body && { body: JSON.stringify(body) }),
    }),
  )
}

function cron(authorization?: string): Promise<Response> {
  return GET(
    new Request('https://postbag.vercel.app/api/maintain', { headers: authorization ? { authorization } : {} }),
  )
}

test('without a setting every request is answered 500, which says what is missing', async (t) => {
  t.mock.method(console, 'error', () => {})
  for (const [name, detail] of [
    ['DATABASE_URL', /DATABASE_URL is not set/],
    ['POSTBAG_SECRET', /POSTBAG_SECRET is not set/],
  ] as const) {
    const answer = await vercel.fetch(new Request('https://postbag.vercel.app/healthz'))

    assert.equal(answer.status, 500)
    assert.match(((await answer.json()) as { detail: string }).detail, detail, name)
    process.env['DATABASE_URL'] = pooler.url
  }
  Object.assign(process.env, { POSTBAG_SECRET: secret, CRON_SECRET: '' })
})

test('the cron job is nobody else’s, and nobody’s without CRON_SECRET', async () => {
  for (const authorization of [undefined, 'Bearer ', 'Bearer undefined']) {
    assert.equal((await cron(authorization)).status, 401)
  }
  process.env['CRON_SECRET'] = cronSecret
  for (const authorization of [undefined, token, `Bearer ${cronSecret}!`, `Bearer ${'x'.repeat(cronSecret.length)}`]) {
    assert.equal((await cron(authorization)).status, 401)
  }
})

test('the cron job clears away what has expired in queues that nobody uses', async () => {
  await database.pool.query(`select postbag.create_queue('rests', ttl => '1 h')`)
  await database.pool.query(`select postbag.send('rests', '1', now => now() - interval '2 h')`)

  assert.equal((await cron(`Bearer ${cronSecret}`)).status, 204)

  assert.equal((await database.pool.query('select from postbag.message')).rowCount, 0)
})

test('behind a transaction pooler that knows no prepared statements, requests side by side send, wait and ack', async (t) => {
  t.mock.method(console, 'log', () => {})
  await request('PUT', '/queues/pooled', {})

  const waiting = [1, 2, 3].map(() => request('POST', '/queues/pooled/receive', { waitSeconds: 20 }))
  const sent = await Promise.all([1, 2, 3].map((body) => request('POST', '/queues/pooled/messages', { body })))

  for (const { status } of sent) assert.equal(status, 201)
  for (const answer of await Promise.all(waiting)) {
    const { messages } = (await answer.json()) as { messages: { receipt: string }[] }
    const receipts = messages.map(({ receipt }) => receipt)
    const { results } = (await (await request('POST', '/queues/pooled/ack', { receipts })).json()) as {
      results: object[]
    }
    assert.deepEqual(results, [{ receipt: receipts[0], outcome: 'ok' }])
  }
})

test('an instance is kept awake until its idle connections are closed', async (t) => {
  t.mock.method(console, 'log', () => {})
  const until: Promise<unknown>[] = []
  const context = { waitUntil: (promise: Promise<unknown>) => until.push(promise) }
  Object.assign(globalThis, { [Symbol.for('@vercel/request-context')]: { get: () => context } })
  Object.assign(process.env, { VERCEL_URL: 'postbag.vercel.app', VERCEL_REGION: 'fra1' })

  assert.equal((await request('GET', '/queues')).status, 200)

  assert.equal(until.length, 1)
  await Promise.all(until)
})
