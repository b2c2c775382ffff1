/* Sending: what a message may hold and how it comes back, what is refused, and whose transaction it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const mebibyte = 1_048_576

const scripts = 'naïve Ελληνικά русский 中文 العربية עברית हिन्दी 🧑‍🚀 \u{1d11e} "quoted" \'single\' \\back\\ $1 %s {}'
const spaced = '{ "b" : 1.0,\t"a":[ ],"b":2e3,\n"\\u00e9":"\\/" }'

const kept: [what: string, message: object, body: string, encoding: string][] = [
  ['an object', { body: { id: 1 } }, '{"id": 1}', 'json'],
  ['null', { body: null }, 'null', 'json'],
  ['false', { body: false }, 'false', 'json'],
  ['zero', { body: 0 }, '0', 'json'],
  ['a large number', { json: '123456789012345678901234567890.10' }, '123456789012345678901234567890.10', 'json'],
  ['an empty JSON string', { body: '' }, '""', 'json'],
  ['an empty list', { body: [] }, '[]', 'json'],
  ['nested lists', { json: `${'['.repeat(500)}${']'.repeat(500)}` }, `${'['.repeat(500)}${']'.repeat(500)}`, 'json'],
  ['JSON in many scripts', { json: JSON.stringify(scripts) }, JSON.stringify(scripts), 'json'],
  ['JSON byte for byte: spaces, order, twice the same key, escapes', { json: spaced }, spaced, 'json'],
  ['JSON with an escaped U+0000', { json: '"\\u0000"' }, '"\\u0000"', 'json'],
  ['JSON that is null', { json: 'null' }, 'null', 'json'],
  ['text in many scripts', { encoding: 'text', body: scripts }, scripts, 'text'],
  ['empty text', { encoding: 'text', body: '' }, '', 'text'],
  ['text with line ends and tabs', { encoding: 'text', body: ' a\r\nb\n\tc\u0001 ' }, ' a\r\nb\n\tc\u0001 ', 'text'],
  ['text that looks like JSON', { encoding: 'text', body: '{"a": 1 }' }, '{"a": 1 }', 'text'],
  ['no bytes', { encoding: 'base64', body: '' }, '', 'base64'],
  ['all bytes', { encoding: 'base64', body: allBytes() }, allBytes(), 'base64'],
]

for (const [what, message, body, encoding] of kept) {
  test(`a message holds ${what}`, async () => {
    const queue = await newQueue(pool)

    await on(pool, queue).sendBatch([message])

    const received = only(await on(pool, queue).receive())
    assert.deepEqual([received.body, received.encoding], [body, encoding])
  })
}

test('everything said about a message comes back with it', async () => {
  const queue = await newQueue(pool, { max_priority: 9 })
  const headers = { trace: 'a"b\'c', 'x-ünï': '', empty: '' }
  const options = { type: 'order.created', headers, priority: 7, encoding: 'text', content_type: 'text/csv; header' }

  const id = await on(pool, queue).send('a,b', { ...options, now: at(0) })

  const { receipt, ...message } = only(await on(pool, queue).receive(1, { now: at(1) }))
  assert.ok(receipt)
  assert.deepEqual(message, {
    id,
    body: 'a,b',
    encoding: 'text',
    type: 'order.created',
    content_type: 'text/csv; header',
    headers,
    priority: 7,
    group_key: null,
    attempts: 1,
    sent_at: at(0),
    first_received_at: at(1),
    leased_until: at(31),
    expires_at: null,
    deaths: null,
  })
})

const limits: [what: string, fits: object, exceeds: object, constraint: string][] = [
  ['text', text('a'.repeat(mebibyte)), text('a'.repeat(mebibyte + 1)), 'message_body_is_at_most_1_mib'],
  [
    'text in bytes',
    text('é'.repeat(mebibyte / 2)),
    text(`${'é'.repeat(mebibyte / 2)}a`),
    'message_body_is_at_most_1_mib',
  ],
  ['JSON', json(mebibyte), json(mebibyte + 1), 'message_body_is_at_most_1_mib'],
  ['bytes', base64(mebibyte), base64(mebibyte + 1), 'message_body_is_at_most_1_mib'],
  ['headers', headers(16_384), headers(16_385), 'message_headers_are_at_most_16_kib'],
  ['type', { type: 'ä'.repeat(255) }, { type: 'a'.repeat(256) }, 'message_type_is_at_most_255_characters'],
  [
    'content type',
    { contentType: 'a'.repeat(255) },
    { contentType: '' },
    'message_content_type_is_at_most_255_characters',
  ],
  ['dedup id', { dedupId: 'ä'.repeat(128) }, { dedupId: 'a'.repeat(129) }, 'dedup_id_is_1_to_128_characters'],
  ['dedup id of no characters', { dedupId: ' ' }, { dedupId: '' }, 'dedup_id_is_1_to_128_characters'],
]

for (const [what, fits, exceeds, constraint] of limits) {
  test(`the largest ${what} is kept, and one more is refused`, async () => {
    const queue = await newQueue(pool)

    await on(pool, queue).sendBatch([{ body: 1, ...fits }])
    await assert.rejects(on(pool, queue).sendBatch([{ body: 1, ...exceeds }]), { code: '23514', constraint })

    assert.equal((await on(pool, queue).receive(10)).length, 1)
  })
}

const refused: [what: string, messages: unknown, code: string, message: RegExp][] = [
  ['no list', { body: 1 }, 'PB002', /^messages must be a JSON array, got object$/],
  ['nothing', null, 'PB002', /^messages must be a JSON array, got null$/],
  ['no message', [], 'PB002', /^messages must be between 1 and 1000, got 0$/],
  ['1001 messages', Array(1001).fill({ body: 1 }), 'PB003', /^messages must be between 1 and 1000, got 1001$/],
  ['a number for a message', [{ body: 1 }, 5], 'PB002', /^messages\[1\] must be an object, got number$/],
  ['a string for a message', ['body'], 'PB002', /^messages\[0\] must be an object, got string$/],
  ['a list for a message', [['body']], 'PB002', /^messages\[0\] must be an object, got array$/],
  ['null for a message', [null], 'PB002', /^messages\[0\] must be an object, got null$/],
  ['no body', [{ type: 'a' }], 'PB002', /^messages\[0\] must have a body$/],
  [
    'an unknown field',
    [{ body: 1, delay: 5 }],
    'PB002',
    /^messages\[0\] has the unknown field delay: known are body, json, encoding, type, contentType, headers, priority, group, delaySeconds, availableAt, ttlSeconds, dedupId, correlationId, replyTo$/,
  ],
  ['an unknown encoding', [{ body: 1, encoding: 'xml' }], '23514', /message_encoding_is_known/],
  [
    'text that is no string',
    [{ body: 5, encoding: 'text' }],
    'PB002',
    /^body must be a string with this encoding, got number$/,
  ],
  ['base64 that is none', [{ body: '?', encoding: 'base64' }], '22023', /base64/],
  ['JSON that is none', [{ json: '{' }], '22P02', /json/],
  ['JSON with U+0000 as body', '[{"body":"\\u0000"}]', '22P05', /Unicode/],
  [
    'headers that are a list',
    [{ body: 1, headers: ['a'] }],
    'PB002',
    /^headers must be an object of strings, got \["a"\]$/,
  ],
  ['a header that is a number', [{ body: 1, headers: { a: 1 } }], 'PB002', /^headers must be an object of strings/],
  ['a header that is null', [{ body: 1, headers: { a: null } }], 'PB002', /^headers must be an object of strings/],
  ['a header that is a list', [{ body: 1, headers: { a: ['x'] } }], 'PB002', /^headers must be an object of strings/],
  [
    'a header that is an empty list',
    [{ body: 1, headers: { a: [] } }],
    'PB002',
    /^headers must be an object of strings/,
  ],
  ['a header that is an object', [{ body: 1, headers: { a: {} } }], 'PB002', /^headers must be an object of strings/],
  [
    'a priority above the queue’s',
    [{ body: 1, priority: 1 }],
    'PB002',
    /^priority must be between 0 and 0, .*, got 1$/,
  ],
  ['a priority below 0', [{ body: 1, priority: -1 }], 'PB002', /^priority must be between 0 and 0, .*, got -1$/],
  ['half a priority', [{ body: 1, priority: 0.5 }], '22P02', /integer/],
  ['a huge priority', [{ body: 1, priority: 1e12 }], '22003', /integer/],
  [
    'a delay below 0',
    [{ body: 1, delaySeconds: -0.001 }],
    'PB002',
    /^delaySeconds must be between 0 and 31536000, got -0.001$/,
  ],
  [
    'a delay above a year',
    [{ body: 1, delaySeconds: 31536000.001 }],
    'PB002',
    /^delaySeconds must be between 0 and 31536000/,
  ],
  ['a delay that is no number', [{ body: 1, delaySeconds: 'soon' }], '22P02', /double precision/],
]

for (const [what, messages, code, message] of refused) {
  test(`a send of ${what} is refused`, async () => {
    const queue = await newQueue(pool)
    const given = typeof messages === 'string' ? messages : JSON.stringify(messages)

    await assert.rejects(call(pool, 'send_batch', { queue, messages: given }), { code, message })

    assert.deepEqual(await on(pool, queue).peek(), [])
  })
}

test('a batch is sent whole or not at all', async () => {
  const queue = await newQueue(pool)
  const good = Array.from({ length: 999 }, (_, body) => ({ body, dedupId: `${body}` }))

  await assert.rejects(on(pool, queue).sendBatch([...good, { body: 1, priority: 5 }]), { code: 'PB002' })

  assert.deepEqual(await on(pool, queue).peek(), [])
  assert.equal((await on(pool, queue).sendBatch(good)).filter((sent) => sent.duplicate).length, 0)
})

test('a batch of 1000 gets rising ids, and is received in the order it was given', async () => {
  const queue = await newQueue(pool)
  const numbers = Array.from({ length: 1000 }, (_, number) => number)

  const sent = await on(pool, queue).sendBatch(numbers.map((body) => ({ body })))

  const received = await on(pool, queue).receive(1000)
  assert.deepEqual(bodies(received), numbers)
  assert.deepEqual(
    received.map((message) => message.id),
    sent.map((message) => message.id),
  )
  assert.ok(sent.every((message, index) => index === 0 || Number(message.id) > Number(sent[index - 1]?.id)))
})

test('the delay is the message’s own, or else the queue’s', async () => {
  const queue = await newQueue(pool, { delay: '100 s' })

  await on(pool, queue).send('own', { delay: '0.25 s', now: at(0) })
  await on(pool, queue).send('none', { delay: '0 s', now: at(0) })
  await on(pool, queue).send('queue', { now: at(0) })

  const waiting = await on(pool, queue).peek(3, { now: at(0) })
  assert.deepEqual(
    waiting.map((message) => message.available_at),
    [at(0.25), at(0), at(100)],
  )
})

test('a send to a queue that does not exist is refused', async () => {
  await assert.rejects(on(pool, 'nowhere').send(1), { code: 'PB001' })
})

test('a message sent in a transaction is there when it commits, and not before', async () => {
  const queue = await newQueue(pool)
  const sender = await db.connect()
  await sender.query('begin')
  await on(sender, queue).send('joined')
  assert.deepEqual(await on(pool, queue).receive(), [])

  await sender.query('commit')

  assert.deepEqual(bodies(await on(await db.connect(), queue).receive()), ['joined'])
})

test('what was sent after a savepoint goes with it, what was sent before stays', async () => {
  const queue = await newQueue(pool)
  const sender = await db.connect()
  await sender.query('begin')
  await on(sender, queue).send('before')
  await sender.query('savepoint here')
  await on(sender, queue).send('after', { dedup_id: 'one' })

  await sender.query('rollback to here')
  await on(sender, queue).send('instead', { dedup_id: 'one' })
  await sender.query('commit')

  assert.deepEqual(bodies(await on(pool, queue).receive(9)), ['before', 'instead'])
})

test('a transaction that is rolled back leaves neither message nor dedup id', async () => {
  const queue = await newQueue(pool)
  const sender = await db.connect()
  await sender.query('begin')
  await on(sender, queue).send('gone', { dedup_id: 'one' })

  await sender.query('rollback')

  assert.deepEqual(await on(pool, queue).peek(), [])
  assert.equal(only(await on(pool, queue).sendBatch([{ body: 'first', dedupId: 'one' }])).duplicate, false)
})

function text(body: string) {
  return { body, encoding: 'text' }
}

function json(bytes: number) {
  return { json: `"${'a'.repeat(bytes - 2)}"` }
}

function base64(bytes: number) {
  return { body: Buffer.alloc(bytes, 0xff).toString('base64'), encoding: 'base64' }
}

function headers(bytes: number) {
  return { headers: { a: 'x'.repeat(bytes - '{"a": ""}'.length) } }
}

function allBytes(): string {
  return Buffer.from(Array.from({ length: 1024 }, (_, byte) => byte % 256)).toString('base64')
}
