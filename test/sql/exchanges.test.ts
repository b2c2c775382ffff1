/* Exchanges and bindings: what may be declared and bound, and where each type leads. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { bind, declare, newExchange, publish, queuesReached, route } from '../support/sql-exchanges.ts'
import { at, backendOf, bodies, call, newQueue, on, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

describe('an exchange', () => {
  test('is declared once, and found again just as it was', async () => {
    const first = await declare(pool, 'once', { type: 'topic', alternate: 'rest', now: at(0) })
    const second = await declare(pool, 'once', { type: 'topic', alternate: 'rest', now: at(9) })

    assert.deepEqual([first?.['created'], second?.['created']], [true, false])
    assert.deepEqual(second?.['created_at'], at(0))
  })

  test('is not declared again as something else, and the difference is said', async () => {
    await declare(pool, 'steady', { type: 'topic' })

    await assert.rejects(declare(pool, 'steady', { type: 'direct' }), {
      code: 'PB011',
      message: 'type of exchange "steady" must be topic, as it was declared, got direct',
    })
    await assert.rejects(declare(pool, 'steady', { type: 'topic', alternate: 'rest' }), {
      code: 'PB011',
      message: 'alternate of exchange "steady" must be none, as it was declared, got rest',
    })
  })

  for (const [name, args, constraint] of [
    ['no spaces', {}, 'exchange_name_is_1_to_80_safe_characters'],
    ['x'.repeat(81), {}, 'exchange_name_is_1_to_80_safe_characters'],
    ['odd', { type: 'x-random' }, 'exchange_type_is_direct_topic_fanout_headers_or_hash'],
    ['odd', { alternate: '' }, 'exchange_alternate_is_1_to_80_safe_characters'],
  ] as const) {
    test(`that breaks a rule is refused: ${constraint} (${name.slice(0, 10)})`, async () => {
      await assert.rejects(declare(pool, name, args), { code: '23514', constraint })
    })
  }

  test('cannot be the one that is always there', async () => {
    await assert.rejects(declare(pool, 'default', {}), {
      code: 'PB002',
      message: 'exchange must be another than default, which is always there, got default',
    })
  })

  test('goes with its bindings, from it and to it; with if_unused only without bindings', async () => {
    const [doomed, other] = [await newExchange(pool, 'direct'), await newExchange(pool, 'fanout')]
    const queue = await newQueue(pool)
    await bind(pool, doomed, { queue, routing_key: 'a' })
    await bind(pool, other, { to_exchange: doomed })

    await assert.rejects(call(pool, 'delete_exchange', { exchange: doomed, if_unused: true }), { code: 'PB012' })
    const [gone] = await call(pool, 'delete_exchange', { exchange: doomed })

    assert.deepEqual(gone, { delete_exchange: '2' })
    await assert.rejects(publish(pool, doomed, 1), { code: 'PB010', message: `exchange "${doomed}" does not exist` })
    assert.equal(await publish(pool, other, 1), 0)
    assert.deepEqual(await call(pool, 'delete_exchange', { exchange: other, if_unused: true }), [
      { delete_exchange: '0' },
    ])
  })

  test('that is bound to another one which is bound to it goes at the same moment as that one', async () => {
    const sessions = [await db.connect(), await db.connect()] as const
    for (let round = 0; round < 30; round++) {
      const [one, other] = [await newExchange(pool, 'fanout'), await newExchange(pool, 'fanout')]
      await bind(pool, one, { to_exchange: other })
      await bind(pool, other, { to_exchange: one })
      await Promise.all([
        call(sessions[0], 'delete_exchange', { exchange: one }),
        call(sessions[1], 'delete_exchange', { exchange: other }),
      ])
    }
  })

  test('that somebody else deletes meanwhile is not there', async () => {
    const doomed = await newExchange(pool, 'fanout')
    const [first, second] = [await db.connect(), await db.connect()]
    const backend = await backendOf(second)
    await first.query('begin')
    await call(first, 'delete_exchange', { exchange: doomed })
    const late = assert.rejects(call(second, 'delete_exchange', { exchange: doomed }), { code: 'PB010' })
    await waitsForLock(pool, backend)
    await first.query('commit')
    await late
  })

  test('is listed by name, a page at a time', async () => {
    for (const name of ['list-b', 'list-a', 'list-c']) await declare(pool, name)

    const page = (after: string) => call(pool, 'list_exchanges', { prefix: 'list-', after, max_exchanges: 2 })

    assert.deepEqual(
      [await page(''), await page('list-b')].map((rows) => rows.map(({ name }) => name)),
      [['list-a', 'list-b'], ['list-c']],
    )
  })
})

describe('a binding', () => {
  test('is made once, and undone once', async () => {
    const exchange = await newExchange(pool, 'topic')
    const queue = await newQueue(pool)
    const same = { queue, routing_key: 'a.*' }

    assert.deepEqual([await bind(pool, exchange, same), await bind(pool, exchange, same)], [true, false])
    assert.equal(await publish(pool, exchange, 1, { routing_key: 'a.b' }), 1)
    const unbound = async () => (await call(pool, 'unbind', { exchange, ...same }))[0]?.['unbind']
    assert.deepEqual([await unbound(), await unbound()], [true, false])
    assert.equal(await publish(pool, exchange, 1, { routing_key: 'a.b' }), 0)
  })

  test('goes with its queue', async () => {
    const exchange = await newExchange(pool, 'fanout')
    const queue = await newQueue(pool)
    await bind(pool, exchange, { queue })

    await on(pool, queue).delete()

    assert.equal(await publish(pool, exchange, 1), 0)
    assert.deepEqual(await call(pool, 'list_bindings', { of_exchange: exchange }), [])
  })

  test('is listed by both its ends', async () => {
    const [from, to] = [await newExchange(pool, 'direct'), await newExchange(pool, 'fanout')]
    const queue = await newQueue(pool)
    await bind(pool, from, { queue, routing_key: 'a' })
    await bind(pool, from, { to_exchange: to, routing_key: 'b' })
    await bind(pool, to, { queue })

    const listed = async (args: object) =>
      (await call(pool, 'list_bindings', args)).map(
        (row) => `${row['exchange']} ${row['routing_key']} ${row['queue'] ?? row['to_exchange']}`,
      )

    assert.deepEqual(await listed({ of_exchange: from }), [`${from} a ${queue}`, `${from} b ${to}`])
    assert.deepEqual(await listed({ of_queue: queue }), [`${from} a ${queue}`, `${to}  ${queue}`])
    assert.deepEqual(await listed({ of_target: to }), [`${from} b ${to}`])
    assert.deepEqual(await listed({ of_exchange: from, of_queue: queue }), [`${from} a ${queue}`])
    await assert.rejects(listed({ of_queue: 'nowhere' }), { code: 'PB001' })
  })

  const refused: readonly (readonly [type: string, args: object, message: RegExp])[] = [
    ['direct', {}, /must go to either a queue or an exchange, got neither/],
    ['direct', { queue: 'q', to_exchange: 'x' }, /must go to either a queue or an exchange, got both/],
    ['direct', { queue: 'q', routing_key: 'k'.repeat(256) }, /routingKey must be at most 255 characters, got 256/],
    [
      'topic',
      { queue: 'q', headers: '{}' },
      /headers must be given for headers exchanges only, and ".*" is of type topic/,
    ],
    ['fanout', { queue: 'q', weight: 2 }, /weight must be given for hash exchanges only/],
    ['hash', { queue: 'q', weight: 101 }, /weight must be between 1 and 100, got 101/],
    ['hash', { queue: 'q', weight: 0 }, /weight must be between 1 and 100, got 0/],
    ['headers', { queue: 'q', headers: '[]' }, /headers must be an object, got array/],
    ['headers', { queue: 'q', headers: '{"a": 1}' }, /headers must be an object of strings and nulls, got \{"a": 1\}/],
    ['headers', { queue: 'q', header_match: 'none' }, /match must be all or any, got none/],
    [
      'headers',
      { queue: 'q', headers: JSON.stringify(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, '']))) },
      /headers must be at most 32/,
    ],
    ['headers', { queue: 'q', headers: JSON.stringify({ a: 'x'.repeat(5000) }) }, /headers must be at most 4096 bytes/],
  ]
  for (const [type, args, message] of refused) {
    test(`of a ${type} exchange that says ${JSON.stringify(args).slice(0, 60)} is refused`, async () => {
      const exchange = await newExchange(pool, type)

      await assert.rejects(bind(pool, exchange, args), { code: 'PB002', message })
    })
  }

  test('to what is not there is refused', async () => {
    const exchange = await newExchange(pool, 'direct')

    await assert.rejects(bind(pool, exchange, { queue: 'nowhere' }), { code: 'PB001' })
    await assert.rejects(bind(pool, exchange, { to_exchange: 'nowhere' }), { code: 'PB010' })
    await assert.rejects(bind(pool, 'nowhere', { queue: 'nowhere' }), { code: 'PB010' })
  })
})

describe('where messages go', () => {
  test('direct: to those bound with this very routing key', async () => {
    const exchange = await newExchange(pool, 'direct')
    const [info, errors] = [await newQueue(pool), await newQueue(pool)]
    for (const key of ['info', 'warning', 'error']) await bind(pool, exchange, { queue: info, routing_key: key })
    await bind(pool, exchange, { queue: errors, routing_key: 'error' })

    assert.deepEqual(await route(pool, exchange, 'info'), [info])
    assert.deepEqual(await route(pool, exchange, 'error'), [info, errors])
    assert.deepEqual(await route(pool, exchange, 'debug'), [])
  })

  test('headers: all of the binding, any of them, or that one is there', async () => {
    const exchange = await newExchange(pool, 'headers')
    const bound = async (headers: object, header_match?: string) => {
      const queue = await newQueue(pool)
      await bind(pool, exchange, { queue, headers: JSON.stringify(headers), header_match })
      return queue
    }
    const both = await bound({ format: 'pdf', type: 'report' })
    const either = await bound({ format: 'pdf', type: 'log' }, 'any')
    const there = await bound({ format: null })
    const always = await bound({})
    const never = await bound({}, 'any')

    const reached = (headers: object) => route(pool, exchange, '', headers)

    assert.deepEqual(await reached({ format: 'pdf', type: 'report', more: 'x' }), [both, either, there, always])
    assert.deepEqual(await reached({ format: 'pdf', type: 'log' }), [either, there, always])
    assert.deepEqual(await reached({ format: 'zip' }), [there, always])
    assert.deepEqual(await reached({}), [always])
    assert.equal((await reached({ type: 'log' })).includes(never), false)
  })

  test('headers: long values too, and none where a message has null', async () => {
    const exchange = await newExchange(pool, 'headers')
    const [long, always] = [await newQueue(pool), await newQueue(pool)]
    const value = randomBytes(1900).toString('hex')
    await bind(pool, exchange, { queue: long, headers: JSON.stringify({ key: value }) })
    await bind(pool, exchange, { queue: always, headers: '{}' })

    assert.deepEqual(await route(pool, exchange, '', { key: value }), [long, always])
    assert.deepEqual(await route(pool, exchange, '', { key: value.slice(1) }), [always])
    const [sent] = await call<{ queues: number }>(pool, 'publish_batch', {
      exchange,
      messages: JSON.stringify([{ body: 1, headers: null }]),
    })
    assert.equal(sent?.queues, 1)
  })

  test('hash: one queue per key, always the same; a queue that goes takes only its own keys', async () => {
    const exchange = await newExchange(pool, 'hash')
    const queues = [await newQueue(pool), await newQueue(pool), await newQueue(pool)]
    for (const queue of queues) await bind(pool, exchange, { queue })
    const keys = Array.from({ length: 300 }, (_, index) => `customer-${index}`)
    const ways = async () => {
      const all = new Map<string, string>()
      for (const key of keys) {
        const [queue, ...others] = await route(pool, exchange, key)
        assert.deepEqual(others, [])
        all.set(key, queue ?? '')
      }
      return all
    }

    const before = await ways()
    assert.deepEqual(await ways(), before)
    await on(pool, queues[2] as string).delete()
    const after = await ways()

    for (const queue of queues) {
      const share = [...before.values()].filter((one) => one === queue).length
      assert.ok(share > 50 && share < 150, `${share} of 300`)
    }
    for (const [key, queue] of before) if (queue !== queues[2]) assert.equal(after.get(key), queue)
  })

  test('hash: shares are by weight, and bound again with another weight they are others', async () => {
    const exchange = await newExchange(pool, 'hash')
    const [small, large] = [await newQueue(pool), await newQueue(pool)]
    await bind(pool, exchange, { queue: small, weight: 1 })
    await bind(pool, exchange, { queue: large, weight: 9 })
    const share = async () => {
      const all = await Promise.all(Array.from({ length: 500 }, (_, index) => route(pool, exchange, `key-${index}`)))
      return all.filter(([queue]) => queue === large).length / 500
    }

    const before = await share()
    assert.equal(await bind(pool, exchange, { queue: large, weight: 1 }), true)
    const after = await share()

    assert.ok(before > 0.8 && before < 0.98, `${before}`)
    assert.ok(after > 0.3 && after < 0.7, `${after}`)
  })

  test('default: to the queue of that name', async () => {
    const queue = await newQueue(pool)

    assert.deepEqual(await route(pool, 'default', queue), [queue])
    assert.equal(await publish(pool, 'default', 'hello', { routing_key: queue }), 1)
    assert.equal(await publish(pool, 'default', 'hello', { routing_key: 'nowhere' }), 0)
    assert.deepEqual(bodies(await on(pool, queue).receive(9)), ['hello'])
  })

  test('from exchange to exchange, in cycles too, once to each queue', async () => {
    const [a, b, c] = [
      await newExchange(pool, 'fanout'),
      await newExchange(pool, 'topic'),
      await newExchange(pool, 'direct'),
    ]
    const [first, second] = [await newQueue(pool), await newQueue(pool)]
    await bind(pool, a, { to_exchange: b })
    await bind(pool, a, { to_exchange: c })
    await bind(pool, b, { to_exchange: a, routing_key: '#' })
    await bind(pool, b, { to_exchange: c, routing_key: 'x.*' })
    await bind(pool, b, { queue: first, routing_key: '#' })
    await bind(pool, c, { queue: first, routing_key: 'x.y' })
    await bind(pool, c, { queue: second, routing_key: 'x.y' })

    assert.deepEqual(await route(pool, a, 'x.y'), [first, second])
    assert.deepEqual(await route(pool, c, 'x.y'), [first, second])
    assert.deepEqual(await route(pool, a, 'z'), [first])
    assert.equal(await publish(pool, a, 1, { routing_key: 'x.y' }), 2)
    assert.deepEqual(await queuesReached(pool, [first, second]), [1, 1])
  })

  test('to the alternate exchange, if no binding fits, by way of several of them', async () => {
    const [last, rest] = [await newExchange(pool, 'fanout'), 'rest-of-it']
    await declare(pool, rest, { type: 'direct', alternate: last })
    const main = await newExchange(pool, 'direct', rest)
    const [known, stray] = [await newQueue(pool), await newQueue(pool)]
    await bind(pool, main, { queue: known, routing_key: 'known' })
    await bind(pool, last, { queue: stray })

    assert.deepEqual(await route(pool, main, 'known'), [known])
    assert.deepEqual(await route(pool, main, 'other'), [stray])
  })

  test('to the queue that the routing key names, if the alternate exchange is the one that is always there', async () => {
    const main = await newExchange(pool, 'topic', 'default')
    const queue = await newQueue(pool)

    assert.deepEqual([await route(pool, main, queue), await route(pool, main, 'no-such-queue')], [[queue], []])
    assert.equal(await publish(pool, main, 1, { routing_key: queue }), 1)
    assert.deepEqual(await queuesReached(pool, [queue]), [1])
    const explained = await call(pool, 'explain_route', { exchange: main, routing_key: queue })
    assert.deepEqual(
      explained.map((row) => [row['at_exchange'], row['queue'], row['alternate']]),
      [[main, queue, true]],
    )
  })

  test('nowhere further if the alternate exchange is not there, or is the exchange itself', async () => {
    const lonely = await newExchange(pool, 'direct', 'not-declared')
    await declare(pool, 'selfish', { type: 'direct', alternate: 'selfish' })

    assert.deepEqual([await route(pool, lonely, 'x'), await route(pool, 'selfish', 'x')], [[], []])
  })

  test('is told with its reasons, and nothing is sent', async () => {
    const [main, rest] = [await newExchange(pool, 'topic', 'explained-rest'), 'explained-rest']
    await declare(pool, rest, { type: 'fanout' })
    const [queue, stray] = [await newQueue(pool), await newQueue(pool)]
    await bind(pool, main, { queue, routing_key: 'a.#' })
    await bind(pool, rest, { queue: stray })
    const explained = async (routing_key: string) =>
      (await call(pool, 'explain_route', { exchange: main, routing_key })).map((row) => [
        row['at_exchange'],
        row['binding_key'],
        row['queue'] ?? row['to_exchange'],
        row['alternate'],
      ])

    assert.deepEqual(await explained('a.b.c'), [[main, 'a.#', queue, false]])
    assert.deepEqual(await explained('b'), [
      [main, null, rest, true],
      [rest, '', stray, false],
    ])
    assert.deepEqual(await queuesReached(pool, [queue, stray]), [0, 0])
  })
})
