/* Looking for messages: search by what is known of them, page by page, and get_message. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, receipts, type SearchOptions } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const mixed = await newQueue(pool, { lease: '1 h' })
await fillMixed()

/** One message of each kind, sent from at(0) to at(7); at at(100) they are in every state. */
async function fillMixed(): Promise<void> {
  const session = on(await db.connect(), mixed)
  await session.send('leased', { type: 'a', now: at(0) })
  await session.send('dead', { type: 'b', headers: { x: '1' }, now: at(1) })
  await session.receive(1, { now: at(2) })
  const given = receipts(await session.receive(1, { now: at(2) }))
  await session.nack(given, { dead_letter: true, now: at(2) })
  await session.send('ready', { headers: { x: '1', y: '2' }, now: at(3) })
  await session.send('delayed', { type: 'a', delay: '1 h', now: at(4) })
  await session.send('head', { group_key: 'g', now: at(5) })
  await session.send('blocked', { group_key: 'g', now: at(6) })
  await session.send('TVkgdGV4dA==', { encoding: 'base64', now: at(7) })
}

const filters: [filter: SearchOptions, finds: string[]][] = [
  [{}, ['leased', 'dead', 'ready', 'delayed', 'head', 'blocked', 'TVkgdGV4dA==']],
  [{ of_state: 'ready' }, ['ready', 'head', 'TVkgdGV4dA==']],
  [{ of_state: 'leased' }, ['leased']],
  [{ of_state: 'delayed' }, ['delayed']],
  [{ of_state: 'blocked' }, ['blocked']],
  [{ of_state: 'dead' }, ['dead']],
  [{ of_type: 'a' }, ['leased', 'delayed']],
  [{ of_type: 'A' }, []],
  [{ of_headers: { x: '1' } }, ['dead', 'ready']],
  [{ of_headers: { x: '1', y: '2' } }, ['ready']],
  [{ of_group: 'g' }, ['head', 'blocked']],
  [{ min_age: '97 s' }, ['leased', 'dead', 'ready']],
  [{ max_age: '95 s' }, ['head', 'blocked', 'TVkgdGV4dA==']],
  [{ min_age: '95 s', max_age: '96 s' }, ['delayed', 'head']],
  [{ body_contains: 'ea' }, ['leased', 'dead', 'ready', 'head']],
  [{ body_contains: '%' }, []],
  [{ body_contains: 'text' }, []],
  [{ of_reason: 'rejected' }, ['dead']],
  [{ of_reason: 'expired' }, []],
  [{ of_type: 'a', of_state: 'delayed', body_contains: 'delayed' }, ['delayed']],
]

for (const [filter, finds] of filters) {
  test(`a search for ${JSON.stringify(filter)} finds ${finds.join(', ') || 'nothing'}`, async () => {
    const found = await on(pool, mixed).search(100, { ...filter, now: at(100) })

    assert.deepEqual(
      found.map((message) => message.body.replaceAll('"', '')),
      finds,
    )
  })
}

test('a search takes no lock and changes nothing', async () => {
  const rows = async () =>
    (await pool.query('select ctid, xmin, xmax, * from postbag.message order by message_id')).rows
  const before = await rows()

  await on(pool, mixed).search(100, { of_state: 'ready', now: at(100) })

  assert.deepEqual(await rows(), before)
})

test('page by page a search finds each message once, and says when there is nothing more', async () => {
  const queue = on(pool, await newQueue(pool))
  await queue.sendBatch(Array.from({ length: 25 }, (_, body) => ({ body, type: body % 2 ? 'odd' : 'even' })))

  const pages: unknown[][] = []
  for (let after: string | undefined = '0'; after; ) {
    const page = await queue.search(5, { of_type: 'odd', after })
    const messages = page.filter((row) => row.id !== null)
    const last = page.find((row) => row.id === null)
    pages.push(bodies(messages))
    after = last && (last.next ?? messages.at(-1)?.id)
  }

  assert.deepEqual(pages, [
    [1, 3, 5, 7, 9],
    [11, 13, 15, 17, 19],
    [21, 23],
  ])
})

test('a search looks at ten thousand messages per call, and goes on from there', async () => {
  const queue = on(pool, await newQueue(pool))
  await queue.send('first', { type: 'rare' })
  for (let batch = 0; batch < 12; batch++) await queue.sendBatch(Array(1000).fill({ body: 'x' }))
  await queue.send('last', { type: 'rare' })

  const first = await queue.search(10, { of_type: 'rare' })
  const next = first.at(-1)?.next ?? ''
  const rest = await queue.search(10, { of_type: 'rare', after: next })
  const nothing = await queue.search(10, { of_type: 'none' })

  assert.deepEqual([bodies(first.slice(0, -1)), first.at(-1)?.id, bodies(rest)], [['first'], null, ['last']])
  assert.deepEqual(
    nothing.map((row) => [row.id, row.next]),
    [[null, next]],
  )
})

test('messages that have expired take no place on a page', async () => {
  const queue = on(pool, await newQueue(pool))
  for (let sent = 0; sent < 6; sent++) await queue.send(sent, { ...(sent < 4 ? { ttl: '1 s' } : {}), now: at(0) })

  const [searched, peeked] = [await queue.search(3, { now: at(100) }), await queue.peek(3, { now: at(100) })]

  assert.deepEqual([searched, peeked].map(bodies), [
    [4, 5],
    [4, 5],
  ])
})

const refused: [args: object, message: string][] = [
  [{ max_messages: 0 }, 'max must be between 1 and 1000, got 0'],
  [{ max_messages: 1001 }, 'max must be between 1 and 1000, got 1001'],
  [{ max_messages: null }, 'max must be between 1 and 1000, got null'],
  [{ after: 'x' }, "after must be the id of a message, got 'x'"],
  [{ of_state: 'gone' }, "state must be ready, leased, delayed, blocked or dead, got 'gone'"],
  [{ of_reason: 'luck' }, "reason must be attempts, expired, rejected or overflow, got 'luck'"],
  [{ of_headers: '{"a": 1}' }, 'headers must be an object of strings, got {"a": 1}'],
  [{ of_headers: '[]' }, 'headers must be an object of strings, got []'],
]

for (const [args, message] of refused) {
  test(`a search with ${JSON.stringify(args)} is refused`, async () => {
    await assert.rejects(call(pool, 'search', { queue: mixed, ...args }), { code: 'PB002', message })
  })
}

test('a message is found by its id, with all that peek shows of it', async () => {
  const [first] = await on(pool, mixed).peek(1, { now: at(100) })

  assert.deepEqual(await on(pool, mixed).get(first?.id ?? '', at(100)), first)
})

test('a message that is not in the queue, or no id, is refused', async () => {
  const id = await on(pool, await newQueue(pool)).send('elsewhere')

  await assert.rejects(on(pool, mixed).get(id), {
    code: 'PB005',
    message: `queue "${mixed}" has no message ${id} (any more)`,
  })
  for (const message_id of ['', '-1', '1.1', 'x', '9'.repeat(19), null])
    await assert.rejects(call(pool, 'get_message', { queue: mixed, message_id }), {
      code: 'PB002',
      message: /^id must be the id/,
    })
  await assert.rejects(on(pool, 'nowhere').get('1'), { code: 'PB001' })
  await assert.rejects(on(pool, 'nowhere').search(), { code: 'PB001' })
})
