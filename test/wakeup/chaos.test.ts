/* The database and the network fail under real servers with many who wait and send over HTTP: what was answered 2xx arrives, nobody is
 * stuck, and nothing is left open. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import pg from 'pg'
import { type NodeServer, type NodeServerOptions, startServer } from '../../functions/node.ts'
import { startEmbedded } from '../../src/db/embedded.ts'
import { install } from '../../src/db/install.ts'
import type { ReceiveResponse } from '../../src/wire.ts'
import { createDatabase } from '../support/database.ts'
import { scratchFolder } from '../support/server.ts'
import { newQueue, on } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { listenerSettles, watchers } from './waiting.ts'

type Started = Pick<NodeServerOptions, 'databaseUrl' | 'directUrl' | 'pingMillis' | 'answerTimeoutMillis'>

async function start(t: TestContext, options: Started): Promise<NodeServer> {
  const { url, stop } = await startServer({
    access: { kind: 'open' },
    host: '127.0.0.1',
    port: 0,
    log: () => {},
    ...options,
  })
  let stopped: Promise<void> | undefined
  const server = { url, stop: () => (stopped ??= stop()) }
  t.after(server.stop)
  return server
}

/** What a request is answered, as far as it is answered; undefined where the server has gone. */
async function post(server: NodeServer, path: string, body: object): Promise<Response | undefined> {
  const headers = { 'content-type': 'application/json' }
  return fetch(`${server.url}/v1/queues/${path}`, { method: 'POST', headers, body: JSON.stringify(body) }).catch(
    () => undefined,
  )
}

/** The bodies of what a receive gets, which is acked. */
async function receive(server: NodeServer, queue: string, waitSeconds: number): Promise<number[]> {
  const answer = await post(server, `${queue}/receive`, { waitSeconds })
  if (answer?.status !== 200) return []
  const { messages } = (await answer.json()) as ReceiveResponse
  if (messages.length > 0) await post(server, `${queue}/ack`, { receipts: messages.map(({ receipt }) => receipt) })
  return messages.map(({ body }) => Number(body))
}

/** 200 who receive and 8 who send, until told to stop. */
function traffic(server: NodeServer, queue: string) {
  const confirmed = new Set<number>()
  const seen = new Set<number>()
  let served = new Set<number>()
  let isOver = false
  let isSending = true
  let made = 0
  const consumers = Array.from({ length: 200 }, async (_, consumer) => {
    let acks: string[] = []
    while (!isOver) {
      const answer = await post(server, `${queue}/receive`, { waitSeconds: 20, ...(acks.length > 0 && { acks }) })
      const { messages } = (answer?.status === 200 ? await answer.json() : { messages: [] }) as ReceiveResponse
      for (const { body } of messages) seen.add(Number(body))
      acks = messages.map(({ receipt }) => receipt)
      if (messages.length > 0) served.add(consumer)
      // (So that those are served who are not yet, however slow the machine is.)
      await sleep(messages.length > 0 ? 1000 : 50)
    }
  })
  const senders = Array.from({ length: 8 }, async () => {
    while (isSending) {
      const bodies = Array.from({ length: 10 }, () => made++)
      const messages = bodies.map((body) => ({ body }))
      const answer = await post(server, `${queue}/messages`, { messages })
      if (answer?.status === 201) for (const body of bodies) confirmed.add(body)
      await sleep(200)
    }
  })
  return {
    confirmed,
    seen,
    /** Resolves when every consumer has got something from now on. */
    async everybodyIsServed() {
      served = new Set()
      await until('everybody to be served', async () => served.size === 200 || undefined)
    },
    /** Send no more; all that was confirmed arrives, and everybody is answered. */
    async end() {
      isSending = false
      await Promise.all(senders)
      await until('all messages', async () => [...confirmed].every((body) => seen.has(body)) || undefined)
      isOver = true
      await server.stop()
      await Promise.all(consumers)
    },
  }
}

/** Sockets that this process has open, to whomever. */
const sockets = () => process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length

/** What is still held after the garbage is collected. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

async function healthOf(server: NodeServer): Promise<string> {
  return ((await (await fetch(`${server.url}/healthz`)).json()) as { wakeUp: string }).wakeUp
}

test('the database crashes and starts again under 200 who wait and 8 who send', async (t: TestContext) => {
  const dataDir = await scratchFolder()
  const launch = (port?: number) =>
    startEmbedded({ dataDir, settings: { fsync: 'off' }, ...(port !== undefined && { port }) })
  const first = await launch()
  const pool = new pg.Pool({ connectionString: first.url })
  pool.on('error', () => {})
  await install(pool)
  const queue = await newQueue(pool, { lease: '2 s' })
  const server = await start(t, { databaseUrl: first.url })
  const { confirmed, everybodyIsServed, end } = traffic(server, queue)
  await everybodyIsServed()

  // An immediate shutdown: like a crash, but for the operating system.
  process.kill(first.pid, 'SIGQUIT')
  await first.ended
  const second = await launch(Number(new URL(first.url).port))
  t.after(async () => {
    await server.stop()
    await second.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  const back = performance.now()
  const before = confirmed.size
  await until('a send', async () => confirmed.size > before || undefined)
  const sent = performance.now() - back
  await everybodyIsServed()
  t.diagnostic(
    `${Math.round(sent)} ms until a send was confirmed, ${Math.round(performance.now() - back)} until everybody was served`,
  )

  await end()
  await until('the end of all connections', async () => {
    const { rows } = await pool.query(`select from pg_stat_activity where application_name like 'postbag%'`)
    return rows.length === 0 || undefined
  })
  await pool.end()
})

for (const [how, break_] of [
  ['cuts every connection', (proxy) => proxy.cut()],
  ['holds up all bytes for a second', (proxy) => proxy.stall()],
  ['swallows all bytes', (proxy) => proxy.blackHole()],
] as [string, (proxy: Awaited<ReturnType<typeof startTcpProxy>>) => void][]) {
  test(`the network ${how} under 200 who wait and 8 who send`, async (t: TestContext) => {
    const database = await createDatabase()
    const proxy = await startTcpProxy(database.url)
    t.after(proxy.stop)
    const queue = await newQueue(database.pool, { lease: '2 s' })
    const before = sockets()
    const server = await start(t, { databaseUrl: proxy.url, pingMillis: 3000, answerTimeoutMillis: 3000 })
    const { everybodyIsServed, end } = traffic(server, queue)
    await everybodyIsServed()

    break_(proxy)
    await sleep(1000)
    await proxy.restore()
    const back = performance.now()
    await everybodyIsServed()
    t.diagnostic(`${Math.round(performance.now() - back)} ms until everybody was served`)

    const count = `select from pg_stat_activity where application_name like 'postbag%' and datname = current_database()`
    await until(
      'no more connections than its own',
      async () => (await database.pool.query(count)).rows.length <= 11 || undefined,
    )
    await end()
    await until(
      'the end of all connections',
      async () => ((await database.pool.query(count)).rows.length === 0 && proxy.sockets === 0) || undefined,
    )
    await proxy.stop()
    await until('the end of all sockets', async () => sockets() <= before || undefined)
  })
}

test('a request in a black hole is told in time that the database is away', async (t: TestContext) => {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  t.after(proxy.stop)
  const queue = await newQueue(database.pool)
  const server = await start(t, { databaseUrl: proxy.url, answerTimeoutMillis: 1500 })
  assert.equal((await post(server, `${queue}/messages`, { body: 1 }))?.status, 201)

  proxy.blackHole()

  const answer = await post(server, `${queue}/messages`, { body: 2 })
  assert.equal(answer?.status, 503)
  assert.equal(((await answer.json()) as { code: string }).code, 'database_unavailable')
  await proxy.restore()
  await until('a send', async () => (await post(server, `${queue}/messages`, { body: 3 }))?.status === 201 || undefined)
  await server.stop()
  await proxy.stop()
})

test('a network that is cut again and again under 100 who wait leaves nothing behind in memory', async (t: TestContext) => {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  t.after(proxy.stop)
  const queue = await newQueue(database.pool)
  const server = await start(t, { databaseUrl: proxy.url })
  let isOver = false
  const consumers = Array.from({ length: 100 }, async () => {
    while (!isOver) await receive(server, queue, 1)
  })
  const cutOften = async (times: number) => {
    for (let round = 0; round < times; round++) {
      proxy.cut()
      await until('a connection that listens', async () => (await healthOf(server)).startsWith('listen:') || undefined)
      await sleep(100)
    }
    return heapBytes()
  }

  const warm = await cutOften(20)
  const later = await cutOften(40)

  t.diagnostic(`${Math.round((later - warm) / 1024)} KiB more after 40 cuts`)
  // (If each cut left a request and its wait of each who waits, that would be some 20 MB.)
  assert.ok(later - warm < 8_000_000, `${later - warm} bytes more`)
  isOver = true
  await Promise.all(consumers)
  await server.stop()
})

test('a listening connection in a black hole is noticed by its silence, and those who wait are served without it', async (t: TestContext) => {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  t.after(proxy.stop)
  const queue = await newQueue(database.pool)
  const server = await start(t, { databaseUrl: database.url, directUrl: proxy.url, pingMillis: 1500 })
  const waiting = [receive(server, queue, 20), receive(server, queue, 20)]
  await until('the watch', async () => (await watchers(database.pool, queue))[0])
  // (A statement under way would be missed before the ping.)
  await listenerSettles(database.pool)
  assert.equal(await healthOf(server), 'listen: a notification to itself arrived')

  proxy.blackHole()
  await on(database.pool, queue).send(1)

  assert.deepEqual(await Promise.race(waiting), [1])
  assert.match(await healthOf(server), /^poll: no answer to a ping within 0.5 s$/)
  await proxy.restore()
  await until('a connection that listens', async () => (await healthOf(server)).startsWith('listen') || undefined)
  await on(database.pool, queue).send(2)
  assert.deepEqual((await Promise.all(waiting)).flat().sort(), [1, 2])
  await server.stop()
  await proxy.stop()
})

test('while the listening connection is in a black hole, what the server itself sends reaches those who wait there', async (t: TestContext) => {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  t.after(proxy.stop)
  const queue = await newQueue(database.pool)
  const server = await start(t, { databaseUrl: database.url, directUrl: proxy.url })
  const waiting = [1, 2, 3].map(() => receive(server, queue, 20))
  await until('the watch', async () => (await watchers(database.pool, queue))[0])
  await listenerSettles(database.pool)

  proxy.blackHole()
  const started = performance.now()
  for (const body of [1, 2, 3]) {
    assert.equal((await post(server, `${queue}/messages`, { body }))?.status, 201)
    await sleep(300)
  }

  assert.deepEqual((await Promise.all(waiting)).flat().sort(), [1, 2, 3])
  const millis = performance.now() - started
  assert.ok(millis < 5000, `${millis} ms`)
  assert.match(await healthOf(server), /^listen: /)
  await proxy.restore()
  await server.stop()
  await proxy.stop()
})

test('a listening connection whose bytes are held up for a moment is not given up, and what came meanwhile is heard', async (t: TestContext) => {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  t.after(proxy.stop)
  const queue = await newQueue(database.pool)
  const server = await start(t, { databaseUrl: database.url, directUrl: proxy.url })
  const waiting = receive(server, queue, 20)
  await until('the watch', async () => (await watchers(database.pool, queue))[0])
  const { connections } = proxy

  proxy.stall()
  await on(database.pool, queue).send(1)
  await sleep(200)
  await proxy.restore()

  assert.deepEqual(await waiting, [1])
  assert.equal(proxy.connections, connections)
  await server.stop()
  await proxy.stop()
})
