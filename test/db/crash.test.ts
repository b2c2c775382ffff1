/* The database dies: every process of it is killed with SIGKILL, in the middle of traffic. What was confirmed is there afterwards. */
import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { type Embedded, startEmbedded } from '../../src/db/embedded.ts'
import { install } from '../../src/db/install.ts'
import { at, bodies, call, eventually, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const cleanup: (() => Promise<unknown>)[] = []

after(async () => {
  for (const step of cleanup.reverse()) await step()
})

// Not in test/sql, which runs on two versions: durability is the server's affair, and it takes a server of its own that writes to disk.
test('a database that is killed keeps what was confirmed, and nothing else', async () => {
  const dataDir = await newFolder()
  const first = await start(dataDir)
  const before = connect(first)
  await install(before)
  const queue = await newQueue(before)
  const verbs = on(before, queue)
  for (const body of ['acked', 'leased', 'ack undone', 'receive undone', 'ready'])
    await verbs.send(body, { now: at(0) })
  const [acked, leased, ackUndone] = receipts(await verbs.receive(3, { lease: '100 s', now: at(0) }))
  await verbs.ack(acked)
  const open = await before.connect()
  await open.query('begin')
  await on(open, queue).ack(ackUndone)
  await on(open, queue).receive(1, { lease: '1 h', now: at(0) })
  await on(open, queue).send('uncommitted', { now: at(0) })
  const confirmed: string[] = []
  const sending = Promise.allSettled([0, 1, 2].map(() => sendUntilItBreaks(first, queue, confirmed)))
  while (confirmed.length < 300) await new Promise((done) => setTimeout(done, 1))

  await killEveryProcess(first, before)
  await Promise.all([sending, first.ended])
  const pool = connect(await start(dataDir))

  const survivors = on(pool, queue)
  const there = await survivors.peek(1000, { now: at(50) })
  assert.deepEqual(
    there.slice(0, 4).map((message) => [JSON.parse(message.body), message.state, message.attempts]),
    [
      ['leased', 'leased', 1],
      ['ack undone', 'leased', 1],
      ['receive undone', 'ready', 0],
      ['ready', 'ready', 0],
    ],
  )
  const ids = new Set(there.slice(4).map((message) => message.id))
  assert.deepEqual(
    confirmed.filter((id) => !ids.has(id)),
    [],
  )
  // Each of the three senders may have had one more whose confirmation did not arrive.
  assert.ok(ids.size <= confirmed.length + 3)

  assert.deepEqual(await survivors.ack(leased), ['ok'])
  assert.deepEqual(bodies(await survivors.receive(2, { now: at(99) })), ['receive undone', 'ready'])
  const back = only(await survivors.receive(1, { now: at(200) }))
  assert.deepEqual([back.body, back.attempts], ['"ack undone"', 2])
  const next = await survivors.send('goes on', { now: at(200) })
  assert.ok(Number(next) > Math.max(...[...ids].map(Number)))
})

test('a database that is killed forgets the messages of its volatile queues, and they go on; durable ones keep theirs', async () => {
  const dataDir = await newFolder()
  const first = await start(dataDir)
  const before = connect(first)
  await install(before)
  const durable = await newQueue(before)
  const forgetful = await newQueue(before, { durability: 'volatile', max_messages: 3 })
  for (const queue of [durable, forgetful]) {
    await on(before, queue).sendBatch([{ body: 1, dedupId: 'a' }, { body: 2 }, { body: 3, group: 'g' }], { now: at(0) })
    await on(before, queue).receive(1, { lease: '1 h', now: at(0) })
  }
  const [old] = await on(before, forgetful).peek(1, { now: at(0) })
  await call(before, 'inbox', { consumer: 'c', message_id: old?.id, now: at(0) })
  // Without a checkpoint an unlogged table may look empty for another reason.
  await before.query('checkpoint')

  await killEveryProcess(first, before)
  await first.ended
  const pool = connect(await start(dataDir))

  assert.equal((await on(pool, durable).peek(9, { now: at(1) })).length, 3)
  const volatile = on(pool, forgetful)
  assert.deepEqual(await volatile.peek(9, { now: at(1) }), [])
  const sent = await volatile.sendBatch([{ body: 4, dedupId: 'a' }, { body: 5 }, { body: 6, group: 'g' }], {
    now: at(1),
  })
  assert.deepEqual(
    sent.map((message) => message.duplicate),
    [false, false, false],
  )
  await assert.rejects(volatile.send(7, { now: at(1) }), { code: 'PB004' })
  assert.deepEqual(bodies(await volatile.receive(9, { now: at(1) })), [4, 5, 6])
  // A new message has a new id: a consumer that remembers the old ones does not take it for one of them.
  for (const { id } of sent)
    assert.deepEqual(await call(pool, 'inbox', { consumer: 'c', message_id: id, now: at(1) }), [{ inbox: true }])
})

test('where one process of the server is killed, ids of volatile messages are not given again', async () => {
  const server = await start(await newFolder())
  const pool = connect(server)
  await install(pool)
  const queue = on(pool, await newQueue(pool, { durability: 'volatile' }))
  const before = [await queue.send(1), await queue.send(2)]
  const { rows } = await pool.query('select pg_backend_pid() as pid')

  process.kill(rows[0].pid, 'SIGKILL')
  await eventually('the server is back', async () => {
    const left = await queue.peek().catch(() => undefined)
    return left?.length === 0
  })

  const after = [await queue.send(3), await queue.send(4)]
  assert.deepEqual(
    after.filter((id) => before.includes(id)),
    [],
  )
  assert.ok(Number(after[0]) > Number(before[1]))
})

/** Single sends over a connection of their own; the ids of those that the database confirmed. */
async function sendUntilItBreaks(server: Embedded, queue: string, confirmed: string[]): Promise<void> {
  const client = new pg.Client(server.url)
  client.on('error', () => {})
  await client.connect()
  while (confirmed.length < 800) confirmed.push(await on(client, queue).send('traffic', { now: at(300) }))
}

async function killEveryProcess(server: Embedded, pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ pid: number }>('select pid from pg_stat_activity')
  // First the one that would clean up behind the others.
  const pids = [server.pid, ...rows.map((row) => row.pid)]
  for (const pid of pids) sendSignal(pid, 'SIGKILL')
  await eventually('they are gone', async () => pids.every((pid) => !sendSignal(pid, 0)))
}

/** Whether there was such a process. Most end by themselves when they notice that the first one is gone. */
function sendSignal(pid: number, signal: 'SIGKILL' | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
    return false
  }
}

async function start(dataDir: string): Promise<Embedded> {
  const server = await startEmbedded({ dataDir })
  cleanup.push(() => server.stop())
  return server
}

function connect(server: Embedded): pg.Pool {
  const pool = new pg.Pool({ connectionString: server.url })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  cleanup.push(() => Promise.race([pool.end(), new Promise((done) => setTimeout(done, 200))]))
  return pool
}

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postbag-crash-'))
  // mkdtemp makes it private; as root, the server runs as another user.
  await chmod(folder, 0o755)
  cleanup.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}
