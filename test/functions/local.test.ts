/* Postbag in the process of its client. What it answers is what every door answers (test/conformance/): here is what a call has instead of a
 * connection. */
import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { openLocal } from '../../functions/local.ts'
import { createEndpointClient } from '../../src/client/endpoints.ts'
import { createClient, type Message } from '../../src/client/index.ts'
import { startBun, startDeno } from '../runtimes/process.ts'
import { createDatabase } from '../support/database.ts'
import { on } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'

const database = await createDatabase()
const { pool, url: databaseUrl } = database
const shared = openLocal({ databaseUrl })
after(() => shared.stop())
let made = 0

/** A queue that no other test has, through the shared one or one of the test's own. */
async function createQueue(local = shared) {
  const queue = createClient({ ...local, retries: 0 }).queue(`queue-${++made}`)
  await queue.create()
  return queue
}

function openOwn(t: TestContext) {
  const own = openLocal({ databaseUrl })
  t.after(() => own.stop())
  return own
}

test('a consumer handles what is there, is told of what comes, and acks it', async () => {
  const queue = await createQueue()
  await queue.sendBatch(Array.from({ length: 300 }, (_, body) => ({ body })))
  const handled: unknown[] = []
  const enough = new AbortController()
  const consuming = queue.consume({ concurrency: 100, signal: enough.signal }, ({ body }: Message) => {
    handled.push(body)
  })
  await until('all messages', async () => handled.length === 300 || undefined)

  await on(pool, queue.name).send({ sent: 'by SQL' })
  await until('one more', async () => handled.length === 301 || undefined)
  enough.abort()
  await consuming

  assert.deepEqual(
    handled.slice(0, 300).sort((a, b) => Number(a) - Number(b)),
    Array.from({ length: 300 }, (_, body) => body),
  )
  assert.deepEqual(handled[300], { sent: 'by SQL' })
  const { ready, leased } = await queue.stats()
  assert.deepEqual([ready, leased], [0, 0])
})

test('bodies pass as they are', async () => {
  const queue = await createQueue()
  const bodies = ['ü€😀', new Uint8Array([0, 255]), { deep: [null, 'ß'] }]

  await queue.sendBatch(bodies.map((body) => ({ body })))

  assert.deepEqual(
    (await queue.receive({ max: 9 })).map(({ body }) => body),
    bodies,
  )
})

test('errors are those of a server', async () => {
  const queue = await createQueue()

  await assert.rejects(createClient(shared).queue('not-there').send(1), { code: 'queue_not_found' })
  await assert.rejects(queue.send('x'.repeat(1024 * 1024)), { code: 'body_too_large' })
  const large = 'x'.repeat(900_000)
  await assert.rejects(queue.sendBatch(Array.from({ length: 30 }, () => ({ body: large }))), {
    code: 'request_too_large',
  })
  await assert.rejects(
    createEndpointClient(shared).endpoint('hook').set({ url: 'https://example.com/', exchange: 'events' }),
    {
      code: 'webhooks_not_configured',
    },
  )
  assert.deepEqual((await queue.peek()).messages, [])
})

test('aborting ends a waiting receive at once, and takes no message along', async () => {
  const queue = await createQueue()
  const [before, later] = [AbortSignal.abort(new Error('before')), new AbortController()]
  await assert.rejects(queue.receive({ waitSeconds: 20, signal: before }), { message: 'before' })

  const waiting = queue.receive({ waitSeconds: 20, signal: later.signal })
  setTimeout(() => later.abort(new Error('enough')), 50)
  await assert.rejects(waiting, { message: 'enough' })
  await queue.send(1)

  const [message] = await queue.receive()
  assert.equal(message?.attempts, 1)
})

test('aborting ends a stream that is being read, with the reason', async () => {
  const { name } = await createQueue()
  const leaving = new AbortController()
  const { body } = await shared.fetch(`${shared.url}/v1/queues/${name}/stream`, { signal: leaving.signal })
  assert.ok(body)
  const reader = body.getReader()
  assert.match(new TextDecoder().decode((await reader.read()).value), /^retry:/)
  const reading = reader.read()

  leaving.abort(new Error('enough'))

  await assert.rejects(reading, { message: 'enough' })
})

test('stopping answers who waits, waits for what runs, and refuses what comes later', async (t) => {
  const own = openOwn(t)
  const queue = await createQueue(own)
  const waiting = queue.receive({ waitSeconds: 20 })
  // A send with the dedup id of another transaction waits for its end.
  const session = await database.connect()
  await session.query('begin')
  await on(session, queue.name).sendBatch([{ body: 'first', dedupId: 'same' }])
  const sending = queue.send('second', { dedupId: 'same' })
  await until('the send to wait', async () => {
    const waits = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return (await pool.query(waits)).rowCount === 1 || undefined
  })

  let stopped = false
  const stopping = own.stop().then(() => {
    stopped = true
  })
  assert.deepEqual(await waiting, [])
  await assert.rejects(queue.send(3), { code: 'request_invalid', message: /was stopped/ })
  assert.equal(stopped, false)
  await session.query('commit')

  assert.equal((await sending).duplicate, true)
  await stopping
})

for (const [runtime, start] of Object.entries({ Deno: startDeno, Bun: startBun })) {
  test(`on ${runtime} it sends, is told of a message, and holds no connection once it has stopped`, async () => {
    const name = `queue-${++made}`
    const local = new URL('../../functions/local.ts', import.meta.url).href
    const client = new URL('../../src/client/index.ts', import.meta.url).href
    const mark = `local-${runtime}`
    const program = `
      import process from 'node:process'
      import { openLocal } from ${JSON.stringify(local)}
      import { createClient } from ${JSON.stringify(client)}
      const local = openLocal({ databaseUrl: process.env.DATABASE_URL })
      const queue = createClient(local).queue('${name}')
      await queue.create()
      const waiting = queue.receive({ waitSeconds: 20 })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await queue.send({ from: '${runtime}' })
      const [message] = await waiting
      await message.ack()
      await local.stop()
      console.log(JSON.stringify({ url: JSON.stringify(message.body) }))`

    const { url } = await start(program, { env: { DATABASE_URL: `${databaseUrl}?application_name=${mark}` } })

    assert.deepEqual(JSON.parse(url), { from: runtime })
    assert.deepEqual((await createClient(shared).queue(name).peek()).messages, [])
    await until('its connections to be closed', async () => {
      const { rowCount } = await pool.query('select from pg_stat_activity where application_name = $1', [mark])
      return rowCount === 0 || undefined
    })
  })
}
