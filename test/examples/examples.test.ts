/* The examples run as they stand, as real processes, and say what they promise. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { NodeServer } from '../../functions/node.ts'
import { createClient } from '../../src/client/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { endExamples, example, startExample } from './programs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
let database: TestDatabase
let server: NodeServer

before(async () => {
  database = await createDatabase()
  server = await startOpenServer(database.url)
})
after(async () => {
  endExamples()
  await server.stop()
})

const settings = () => ({ POSTBAG_URL: server.url, DATABASE_URL: database.url })

test('hello world: what the producer sends, the waiting consumer prints', async () => {
  const consumer = await startExample('hello-world/consumer', settings())

  const [sent] = await example('hello-world/producer', settings())

  assert.match(sent ?? '', /^sent message \d+$/)
  assert.equal(await consumer.line(), 'received: Hello World!')
  assert.equal(await consumer.stop(), 0)
})

test('hello world with curl: sent, received, acked', async () => {
  const { stdout } = await run('sh', ['examples/hello-world/hello.sh'], {
    cwd: root,
    env: { ...process.env, ...settings() },
  })

  const [sent, received, acked] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(sent.messages[0].duplicate, false)
  assert.equal(received.messages[0].body, 'Hello World!')
  assert.deepEqual(acked.results, [{ receipt: received.messages[0].receipt, outcome: 'ok' }])
})

test('webhooks: two subscribers, the attempts, another secret, and what has failed is delivered anew', async () => {
  const { stdout } = await run('examples/webhooks/tour.sh', { cwd: root, env: { ...process.env, ...settings() } })

  const [, , , ordered, rolledBack] = stdout.split('\n')
  assert.equal(ordered, 'ordered: book, for 2 subscribers')
  assert.equal(rolledBack, 'rolled back: out of unicorns')
  for (const attempt of [1, 2]) {
    assert.match(stdout, new RegExp(`^\\S+Z +\\d+ +evt_\\d+ +order\\.created +${attempt} +\\d+ ms +failed +503$`, 'm'))
  }
  assert.match(stdout, /^Delivers 1 delivery of endpoint example-bad anew\.$/m)
  const took = stdout.slice(stdout.indexOf('6.')).match(/^took evt_\d+: .*$/gm) ?? []
  assert.deepEqual(
    took.map((line) => JSON.parse(line.slice(line.indexOf('{')))).map(({ item, type }) => item ?? type),
    ['book', 'test', 'book'],
  )
})

test('outbox: the rolled back order leaves neither row nor message', async () => {
  assert.deepEqual(await example('outbox/outbox', settings()), [
    'rolled back: out of unicorns',
    'orders: book',
    'message: {"orderId":"1","item":"book"}',
  ])
})

for (const library of ['drizzle', 'knex', 'kysely', 'mikro-orm', 'postgres-js', 'prisma', 'typeorm']) {
  test(`outbox with ${library}: order and message, or neither`, async () => {
    assert.deepEqual(await example(`outbox/${library}`, settings()), [
      'rolled back: out of unicorns',
      'order: book',
      'message: {"orderId":1,"item":"book"}',
    ])
  })
}

for (const consumer of ['same-database', 'inbox', 'provider']) {
  test(`payment/${consumer}: the payment that was prepared is made`, async (t) => {
    const provider = spawn(process.execPath, ['examples/run.ts', 'payment/provider-server'], {
      cwd: root,
      env: { ...process.env, PORT: '0' },
    })
    t.after(() => provider.kill())
    const [providerUrl] = await once(createInterface(provider.stdout), 'line')
    const env = { ...settings(), LEDGER_URL: database.url, PROVIDER_URL: String(providerUrl) }

    await example('payment/prepare', env)

    assert.deepEqual(await example(`payment/${consumer}`, env), ['paid: {"account":7,"amount":5}'])
    const { rows } = await database.pool.query('select account, amount from example_balance')
    assert.deepEqual(rows, [{ account: 7, amount: 5 }])
  })
}

test('payment/provider: a provider that is overloaded is not asked again at once, and the payment waits', async (t) => {
  let charges = 0
  const provider = createServer((_, response) => {
    response.writeHead(++charges > 5 ? 200 : 503).end('{"charge":"charge-1"}')
  }).listen(0, '127.0.0.1')
  await once(provider, 'listening')
  t.after(() => provider.close().closeAllConnections())
  const PROVIDER_URL = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
  const env = { ...settings(), PROVIDER_URL }
  await example('payment/prepare', env)

  await example('payment/provider', env)

  assert.equal(charges, 1)
  const [message] = (await createClient(server).queue('example-payments').peek()).messages
  assert.deepEqual([message?.state, message?.lastError], ['delayed', 'the provider says 503'])
})
