/* The examples run as they stand, as real processes, and say what they promise. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { NodeServer } from '../../functions/node.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
let database: TestDatabase
let server: NodeServer

before(async () => {
  database = await createDatabase()
  server = await startOpenServer(database.url)
})
after(() => server.stop())

const environment = () => ({ ...process.env, POSTBAG_URL: server.url, DATABASE_URL: database.url })

test('hello world: what the producer sends, the waiting consumer prints', async () => {
  const consumer = spawn(process.execPath, ['examples/run.ts', 'hello-world/consumer'], {
    cwd: root,
    env: environment(),
  })
  await once(createInterface(consumer.stderr), 'line')
  const printed = once(createInterface(consumer.stdout), 'line')

  const producer = await run(process.execPath, ['examples/run.ts', 'hello-world/producer'], {
    cwd: root,
    env: environment(),
  })

  assert.match(producer.stdout, /^sent message \d+$/m)
  assert.deepEqual(await printed, ['received: Hello World!'])
  consumer.kill('SIGINT')
  const [code] = await once(consumer, 'exit')
  assert.equal(code, 0)
})

test('hello world with curl: sent, received, acked', async () => {
  const { stdout } = await run('sh', ['examples/hello-world/hello.sh'], { cwd: root, env: environment() })

  const [sent, received, acked] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(sent.messages[0].duplicate, false)
  assert.equal(received.messages[0].body, 'Hello World!')
  assert.deepEqual(acked.results, [{ receipt: received.messages[0].receipt, outcome: 'ok' }])
})

test('outbox: the rolled back order leaves neither row nor message', async () => {
  const { stdout } = await run(process.execPath, ['examples/run.ts', 'outbox/outbox'], {
    cwd: root,
    env: environment(),
  })

  assert.deepEqual(stdout.trim().split('\n'), [
    'rolled back: out of unicorns',
    'orders: book',
    'message: {"orderId":"1","item":"book"}',
  ])
})

for (const library of ['drizzle', 'knex', 'kysely', 'mikro-orm', 'postgres-js', 'prisma', 'typeorm']) {
  test(`outbox with ${library}: order and message, or neither`, async () => {
    const { stdout } = await run(process.execPath, ['examples/run.ts', `outbox/${library}`], {
      cwd: root,
      env: environment(),
    })

    assert.deepEqual(stdout.trim().split('\n'), [
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
    const env = { ...environment(), LEDGER_URL: database.url, PROVIDER_URL: providerUrl }

    await run(process.execPath, ['examples/run.ts', 'payment/prepare'], { cwd: root, env })
    const { stdout } = await run(process.execPath, ['examples/run.ts', `payment/${consumer}`], { cwd: root, env })

    assert.equal(stdout, 'paid: {"account":7,"amount":5}\n')
    const { rows } = await database.pool.query('select account, amount from example_balance')
    assert.deepEqual(rows, [{ account: 7, amount: 5 }])
  })
}
