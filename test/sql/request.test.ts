/* Requests and replies: the first reply stays, for as long as it is kept, and only for who was told where it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import {
  at,
  backendOf,
  bodies,
  call,
  newQueue,
  on,
  only,
  type QueueConfig,
  type Received,
  type Session,
  waitsForLock,
} from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

interface Sent {
  readonly id: string
  readonly message_id: string
  readonly duplicate: boolean
}

interface Fetched {
  readonly message_id: string
  readonly state: 'pending' | 'replied'
  readonly body: string | null
  readonly encoding: string | null
  readonly type: string | null
  readonly content_type: string | null
  readonly headers: Record<string, string> | null
  readonly replied_at: Date | null
  readonly expires_at: Date
}

/** Requests and replies on one queue, as one session says them. */
function asking(session: Session, queue: string) {
  return {
    async request(body: unknown, more: object = {}): Promise<Sent> {
      return only(await call<Sent>(session, 'request', { queue, body: JSON.stringify(body), now: at(0), ...more }))
    },
    async reply(reply_to: string | undefined, body: unknown, more: object = {}): Promise<string> {
      const args = { queue, reply_to, body: JSON.stringify(body), now: at(1), ...more }
      return only(await call<{ reply: string }>(session, 'reply', args)).reply
    },
    async fetch(id: string, now = at(2)): Promise<Fetched> {
      return only(await call<Fetched>(session, 'fetch_reply', { queue, id, now }))
    },
  }
}

function replyToOf({ headers }: Pick<Received, 'headers'>): string {
  return headers?.['postbag-reply-to'] ?? ''
}

/** A queue with one request in it, received. */
async function asked(config: QueueConfig = {}, more: object = {}) {
  const queue = await newQueue(pool, config)
  const sent = await asking(pool, queue).request('how many?', more)
  const message = only(await on(pool, queue).receive(1, { now: at(0) }))
  return { queue, sent, message, replyTo: replyToOf(message), ...asking(pool, queue) }
}

for (const config of [{}, { durability: 'volatile' }, { durability: 'relaxed' }, { delivery_order: 'lifo' }]) {
  test(`a reply can be fetched, as often as one likes, and its request is acked with it: ${JSON.stringify(config)}`, async () => {
    const { queue, sent, message, replyTo, reply, fetch } = await asked(config)
    const pending = await fetch(sent.id)

    const outcome = await reply(replyTo, { count: 3 }, { receipt: message.receipt, type: 'count', headers: { a: 'b' } })

    assert.equal(outcome, 'ok')
    assert.deepEqual([pending.state, pending.body, pending.message_id], ['pending', null, message.id])
    const expected = {
      message_id: sent.message_id,
      state: 'replied',
      body: '{"count": 3}',
      encoding: 'json',
      type: 'count',
      content_type: null,
      headers: { a: 'b' },
      replied_at: at(1),
      expires_at: at(3600),
    }
    assert.deepEqual([await fetch(sent.id), await fetch(sent.id)], [expected, expected])
    assert.deepEqual(await on(pool, queue).peek(), [])
  })
}

test('a request has what messages have: its group, its priority, its delay, its correlation id', async () => {
  const queue = await newQueue(pool, { max_priority: 9 })
  const { request } = asking(pool, queue)
  await request('later', { delay: '1 h' })
  await request('low', { group_key: 'g', correlation_id: 'c-1' })
  await request('high', { priority: 9 })

  const received = await on(pool, queue).receive(10, { now: at(0) })

  assert.deepEqual(bodies(received), ['high', 'low'])
  assert.deepEqual([received[1]?.group_key, received[1]?.headers?.['postbag-correlation-id']], ['g', 'c-1'])
  for (const { id, ...message } of received) {
    assert.equal(await asking(pool, queue).reply(replyToOf(message), id, { receipt: message.receipt }), 'ok')
  }
})

test('a reply may be text or bytes', async () => {
  for (const [encoding, body] of [
    ['text', 'a "text"'],
    ['base64', Buffer.alloc(100, 7).toString('base64')],
  ]) {
    const { sent, replyTo, reply, fetch } = await asked()
    await reply(replyTo, body, { encoding })
    const fetched = await fetch(sent.id)
    assert.deepEqual([fetched.encoding, fetched.body], [encoding, body])
  }
})

test('the first reply stays; who replies second is told, and his request is acked', async () => {
  const { queue, sent, message, replyTo, reply, fetch } = await asked()
  await reply(replyTo, 'first')

  assert.equal(await reply(replyTo, 'second', { receipt: message.receipt }), 'already_replied')

  assert.equal((await fetch(sent.id)).body, '"first"')
  assert.deepEqual(await on(pool, queue).peek(), [])
})

test('of two that reply at the same time one replies, and the other is told', async () => {
  const { queue, sent, replyTo, fetch } = await asked()
  const [one, other] = [await db.connect(), await db.connect()]
  await one.query('begin')
  assert.equal(await asking(one, queue).reply(replyTo, 'one'), 'ok')
  const pid = await backendOf(other)
  const second = asking(other, queue).reply(replyTo, 'other')
  await waitsForLock(pool, pid)
  await one.query('commit')

  assert.equal(await second, 'already_replied')
  assert.equal((await fetch(sent.id)).body, '"one"')
})

test('a reply that is rolled back was none: who waited behind it replies, and the request is there again', async () => {
  const { queue, sent, message, replyTo, fetch } = await asked()
  const [one, other] = [await db.connect(), await db.connect()]
  await one.query('begin')
  assert.equal(await asking(one, queue).reply(replyTo, 'one', { receipt: message.receipt }), 'ok')
  assert.equal((await fetch(sent.id)).state, 'pending')
  const pid = await backendOf(other)
  const second = asking(other, queue).reply(replyTo, 'other', { receipt: message.receipt })
  await waitsForLock(pool, pid)
  await one.query('rollback')

  assert.equal(await second, 'ok')
  assert.equal((await fetch(sent.id)).body, '"other"')
  assert.deepEqual(await on(pool, queue).peek(), [])
})

test('fifty that reply at once, while others fetch: one reply, and whoever sees one sees that one', async () => {
  const { sent, replyTo, reply, fetch } = await asked()

  const [outcomes, fetched] = await Promise.all([
    Promise.all(Array.from({ length: 50 }, (_, who) => reply(replyTo, who))),
    Promise.all(Array.from({ length: 50 }, () => fetch(sent.id))),
  ])

  assert.equal(outcomes.filter((outcome) => outcome === 'ok').length, 1)
  const { body } = await fetch(sent.id)
  assert.equal(body, String(outcomes.indexOf('ok')))
  for (const seen of fetched) assert.ok(seen.state === 'pending' || seen.body === body)
})

test('a lease that was lost replies nothing', async () => {
  const { queue, sent, message, replyTo, reply, fetch } = await asked({ lease: '10 s' })
  const again = only(await on(pool, queue).receive(1, { now: at(11) }))

  assert.equal(await reply(replyTo, 'late', { receipt: message.receipt, now: at(12) }), 'lease_lost')
  assert.equal(await reply(replyTo, 'late', { receipt: 'none', now: at(12) }), 'receipt_invalid')

  assert.equal((await fetch(sent.id, at(12))).state, 'pending')
  assert.equal(await reply(replyTo, 'good', { receipt: again.receipt, now: at(12) }), 'ok')
})

test('after its time nobody can reply or fetch, and what is left is cleared away', async () => {
  const { queue, sent, message, replyTo, reply, fetch } = await asked({}, { keep: '10 s' })
  await asking(pool, queue).request('another', { keep: '1 h' })

  assert.equal((await fetch(sent.id, at(9.999))).state, 'pending')
  assert.equal(await reply(replyTo, 1, { now: at(10) }), 'reply_not_found')
  await assert.rejects(fetch(sent.id, at(10)), { code: 'PB006' })

  assert.equal(await rows(queue), 2)
  await on(pool, queue).maintain(100, at(10))
  assert.equal(await rows(queue), 1)

  // The request is done all the same.
  assert.equal(await reply(replyTo, 1, { receipt: message.receipt, now: at(10) }), 'reply_not_found')
  assert.equal((await on(pool, queue).peek()).length, 1)
})

test('replies that were fetched by nobody are kept until then', async () => {
  const { queue, sent, replyTo, reply, fetch } = await asked({}, { keep: '10 s' })
  await reply(replyTo, 1, { now: at(9) })

  await on(pool, queue).maintain(100, at(9.9))

  assert.equal((await fetch(sent.id, at(9.9))).body, '1')
})

test('sends and receives clear away replies whose time is over, by the way', async () => {
  const { queue } = await asked({}, { keep: '10 s' })

  await on(pool, queue).send('anything', { now: at(100) })

  assert.equal(await rows(queue), 0)
})

async function rows(queue: string): Promise<number> {
  const { rows } = await pool.query(
    'select count(*)::integer as count from postbag.reply join postbag.queue using (queue_id) where name = $1',
    [queue],
  )
  return rows[0].count
}

test('with its queue its replies go, and nobody can reply any more', async () => {
  const { queue, replyTo } = await asked()
  const other = await newQueue(pool)

  await on(pool, queue).delete()

  assert.equal(await asking(pool, other).reply(replyTo, 1), 'reply_not_found')
  await call(pool, 'create_queue', { queue })
  assert.equal(await asking(pool, queue).reply(replyTo, 1), 'reply_not_found')
  const { rows } = await pool.query('select from postbag.reply where queue_id = $1', [replyTo.slice(1).split('.')[0]])
  assert.equal(rows.length, 0)
})

test('whoever guesses finds nothing: neither to reply to nor to fetch', async () => {
  const { sent, replyTo, reply, fetch } = await asked()
  const wrong = (text: string) => text.replace(/.$/, (last) => (last === '0' ? '1' : '0'))

  assert.equal(await reply(wrong(replyTo), 1), 'reply_not_found')
  assert.equal(await reply('~', 1), 'reply_not_found')
  await assert.rejects(fetch(wrong(sent.id)), { code: 'PB006' })
  assert.equal((await fetch(sent.id)).state, 'pending')
})

test('a request from the dead letters can be replied to', async () => {
  const dead = await newQueue(pool)
  const { queue, message, sent, replyTo, fetch } = await asked({ dead_letter_queue: dead })
  await call(pool, 'nack', { queue, receipts: JSON.stringify([message.receipt]), dead_letter: true, now: at(1) })
  const buried = only(await on(pool, dead).receive(1, { now: at(1) }))

  assert.equal(replyToOf(buried), replyTo)
  assert.equal(await asking(pool, dead).reply(replyTo, 'sorry', { receipt: buried.receipt }), 'ok')

  assert.equal((await fetch(sent.id)).body, '"sorry"')
})

test('where replyTo is a queue, the reply is sent there, with the ack, or neither', async () => {
  const [questions, answers] = [await newQueue(pool), await newQueue(pool, { durability: 'volatile' })]
  await call(pool, 'send', { queue: questions, body: '1', reply_to: answers, correlation_id: 'c-1', now: at(0) })
  const message = only(await on(pool, questions).receive(1, { now: at(0) }))
  assert.deepEqual(message.headers, { 'postbag-correlation-id': 'c-1', 'postbag-reply-to': answers })
  const { reply } = asking(pool, questions)

  await assert.rejects(reply('no-such-queue', 2, { receipt: message.receipt }), { code: 'PB001' })
  assert.equal((await on(pool, questions).peek())[0]?.state, 'leased')
  assert.equal(await reply(answers, 2, { receipt: message.receipt, correlation_id: 'c-1' }), 'ok')
  assert.equal(await reply(answers, 2, { receipt: message.receipt, correlation_id: 'c-1' }), 'message_gone')

  const replied = only(await on(pool, answers).receive(10, { now: at(2) }))
  assert.deepEqual([replied.body, replied.headers], ['2', { 'postbag-correlation-id': 'c-1' }])
})

test('a request with the same dedup id is the same request', async () => {
  const queue = await newQueue(pool)
  const { request, reply, fetch } = asking(pool, queue)
  const first = await request(1, { dedup_id: 'd' })
  const second = await request(1, { dedup_id: 'd' })

  assert.deepEqual([first.duplicate, second], [false, { ...first, duplicate: true }])
  const message = only(await on(pool, queue).receive(10, { now: at(0) }))
  await reply(replyToOf(message), 'once')
  assert.equal((await fetch(second.id)).body, '"once"')
})

test('a dedup id that was sent without asking for a reply brings none', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send(1, { dedup_id: 'd', now: at(0) })

  await assert.rejects(asking(pool, queue).request(1, { dedup_id: 'd' }), { code: 'PB006' })
})

test('a request that is rolled back was none', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await session.query('begin')
  const { id } = await asking(session, queue).request(1)
  await session.query('rollback')

  await assert.rejects(asking(pool, queue).fetch(id), { code: 'PB006' })
  assert.equal(await rows(queue), 0)
})

test('headers under the reserved names are the fields', async () => {
  const queue = await newQueue(pool)
  const named = { 'postbag-correlation-id': 'c', 'postbag-reply-to': 'answers' }
  await on(pool, queue).send(1, { headers: { ...named, a: 'b' } })
  await on(pool, queue).sendBatch([{ body: 1, correlationId: 'c', replyTo: 'answers', headers: { a: 'b' } }])
  await on(pool, queue).sendBatch([
    { body: 1, correlationId: 'c', headers: { ...named, a: 'b', 'postbag-correlation-id': 'x' } },
  ])

  const seen = await on(pool, queue).peek()

  assert.deepEqual(
    seen.map(({ headers }) => headers),
    Array(3).fill({ ...named, a: 'b' }),
  )
})

for (const { what, verb, args, says } of [
  {
    what: 'a correlation id that is too long',
    verb: 'send',
    args: { body: '1', correlation_id: 'c'.repeat(256) },
    says: /correlation_id_is_1_to_255/,
  },
  {
    what: 'an empty reply-to',
    verb: 'send',
    args: { body: '1', headers: { 'postbag-reply-to': '' } },
    says: /reply_to_is_1_to_255/,
  },
  {
    what: 'a reply without a reply-to',
    verb: 'reply',
    args: { body: '1', reply_to: null },
    says: /replyTo must be .* got null/,
  },
  { what: 'a reply to nobody', verb: 'reply', args: { body: '1', reply_to: '' }, says: /replyTo must be .* got ""/ },
  {
    what: 'a reply with headers that are none',
    verb: 'reply',
    args: { body: '1', reply_to: '~', headers: '[]' },
    says: /headers must be/,
  },
  {
    what: 'a reply that says more than a reply has',
    verb: 'send_reply',
    args: { reply_to: '~', message: '{"body":1,"priority":1}' },
    says: /unknown field priority/,
  },
  {
    what: 'a reply that is none',
    verb: 'send_reply',
    args: { reply_to: '~', message: '1' },
    says: /must be an object, got number/,
  },
  {
    what: 'a reply that is too large',
    verb: 'reply',
    args: { reply_to: '~', body: JSON.stringify('x'.repeat(1_048_577)) },
    says: /at_most_1_mib/,
  },
  {
    what: 'a request that says where to reply',
    verb: 'send_request',
    args: { message: '{"body":1,"replyTo":"q"}' },
    says: /replyTo must not be given/,
  },
  {
    what: 'a request that is none',
    verb: 'send_request',
    args: { message: '[]' },
    says: /must be an object, got array/,
  },
  {
    what: 'a reply kept for too short',
    verb: 'request',
    args: { body: '1', keep: '0.9 s' },
    says: /between 1 and 604800, got 0.9/,
  },
  {
    what: 'a reply kept for too long',
    verb: 'request',
    args: { body: '1', keep: '8 d' },
    says: /between 1 and 604800, got 691200/,
  },
  {
    what: 'an id that is none',
    verb: 'fetch_reply',
    args: { id: '17' },
    says: /id must be the id of a reply, got '17'/,
  },
]) {
  test(`${what} is refused, and changes nothing`, async () => {
    const queue = await newQueue(pool)

    await assert.rejects(call(pool, verb, { queue, ...args }), says)

    assert.deepEqual([await rows(queue), (await on(pool, queue).peek()).length], [0, 0])
  })
}

for (const verb of ['request', 'reply', 'fetch_reply']) {
  test(`${verb} of a queue that does not exist is refused`, async () => {
    const args = {
      request: { body: '1' },
      reply: { body: '1', reply_to: '~' },
      fetch_reply: { id: `1.${'0'.repeat(32)}` },
    }

    await assert.rejects(call(pool, verb, { queue: 'none', ...args[verb as keyof typeof args] }), { code: 'PB001' })
  })
}
