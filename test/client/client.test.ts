/* The client against the real server and a real Postgres. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { NodeServer } from '../../functions/node.ts'
import { type Client, createClient, type QueueInfo } from '../../src/client/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { onlyGrace } from './manual-clock.ts'

let database: TestDatabase
let server: NodeServer
let postbag: Client

before(async () => {
  database = await createDatabase()
  server = await startOpenServer(database.url)
  postbag = createClient({ url: server.url, sleep: onlyGrace })
})

after(() => server?.stop())

describe('queues', () => {
  test('are created, described, replaced and deleted', async () => {
    const orders = postbag.queue('configured')

    const created = await orders.create({ leaseSeconds: 60, maxPriority: 3, delaySeconds: undefined })
    const described = await orders.info()
    const replaced = await orders.create()
    await orders.send(1)

    assert.deepEqual(described, created)
    assert.deepEqual([created.leaseSeconds, created.maxPriority], [60, 3])
    assert.equal(replaced.leaseSeconds, 30)
    assert.equal(await orders.delete(), 1)
    await assert.rejects(orders.info(), { code: 'queue_not_found' })
  })

  test('are listed over any number of pages', async () => {
    const names = Array.from({ length: 101 }, (_, index) => `listed-${String(index).padStart(3, '0')}`)
    await Promise.all(names.map((name) => postbag.queue(name).create()))

    const listed: QueueInfo[] = []
    for await (const queue of postbag.queues({ prefix: 'listed-' })) listed.push(queue)

    assert.deepEqual(
      listed.map((queue) => queue.name),
      names,
    )
  })
})

describe('messages', () => {
  const everyByte = Uint8Array.from({ length: 1024 }, (_, index) => index % 256)
  const bodies: [what: string, body: unknown, encoding?: 'text'][] = [
    ['an object', { id: 1, nested: { list: [1.5, null, true, 'Ünïcödé 漢字 🎉'] } }],
    ['a JSON string', 'plain'],
    ['a JSON null', null],
    ['a text', 'not "JSON"\n漢字', 'text'],
    ['bytes', everyByte],
    ['no bytes at all', new Uint8Array()],
  ]
  for (const [index, [what, body, encoding]] of bodies.entries()) {
    test(`come back as they were sent: ${what}`, async () => {
      const orders = postbag.queue(`body-${index}`)
      await orders.create()

      await orders.send(body, { encoding })
      const [message] = await orders.receive()
      const looked = await orders.peek()

      assert.deepEqual(message?.body, body)
      assert.deepEqual(looked.messages[0]?.body, body)
    })
  }

  test('of 1 MiB of bytes come back as they were sent', async () => {
    const orders = postbag.queue('large')
    await orders.create()
    const body = new Uint8Array(1_048_576)
    for (let start = 0; start < body.length; start += 65_536)
      crypto.getRandomValues(body.subarray(start, start + 65_536))

    await orders.send(body)
    const [message] = await orders.receive()

    assert.deepEqual(message?.body, body)
  })

  test('carry what was said of them', async () => {
    const orders = postbag.queue('described')
    await orders.create({ maxPriority: 9 })
    const said = {
      type: 'order.created',
      contentType: 'application/json',
      priority: 7,
      headers: { region: 'eu' },
      group: 'customer-7',
    }

    const { id, duplicate } = await orders.send({ id: 1 }, said)
    const [message] = await orders.receive({ leaseSeconds: 5 })

    assert.equal(duplicate, false)
    assert.deepEqual({ ...message, ...said, id }, message)
    assert.equal(message?.attempts, 1)
  })

  test('may have an end', async () => {
    const orders = postbag.queue('ending')
    await orders.create()

    await orders.send(1, { ttlSeconds: 3600 })
    const [message] = await orders.receive()

    assert.equal(Date.parse(message?.expiresAt ?? ''), Date.parse(message?.sentAt ?? '') + 3_600_000)
  })

  test('may be for later', async () => {
    const orders = postbag.queue('later')
    await orders.create()
    const availableAt = new Date(Date.now() + 3_600_000).toISOString()

    await orders.send(1, { availableAt })
    const { messages } = await orders.peek()

    assert.deepEqual([messages[0]?.state, messages[0]?.availableAt], ['delayed', availableAt])
  })

  test('of one group are received one after the other', async () => {
    const orders = postbag.queue('grouped')
    await orders.create()
    await orders.sendBatch([
      { body: 1, group: 'a' },
      { body: 2, group: 'a' },
    ])

    const [first] = await orders.receive()
    const meanwhile = await orders.receive()
    await first?.ack()
    const [second] = await orders.receive()

    assert.deepEqual([first?.body, meanwhile, second?.body], [1, [], 2])
  })

  test('with autoAck are gone when they are received, and nobody can settle them', async () => {
    const orders = postbag.queue('auto')
    await orders.create()
    await orders.sendBatch([{ body: 1 }, { body: 2 }])

    const [message] = await orders.receive({ autoAck: true })
    const left = await orders.peek()

    assert.deepEqual([message?.body, message?.receipt], [1, ''])
    assert.deepEqual(
      left.messages.map(({ body }) => body),
      [2],
    )
    await assert.rejects(message?.ack() ?? Promise.resolve(), { code: 'receipt_invalid' })
  })

  test('with one dedupId of the caller are one message', async () => {
    const orders = postbag.queue('dedup')
    await orders.create()

    const first = await orders.send(1, { dedupId: 'order-1' })
    const second = await orders.send(2, { dedupId: 'order-1' })

    assert.deepEqual(second, { id: first.id, duplicate: true })
    assert.equal((await orders.stats()).ready, 1)
  })

  test('are sent 1000 at once', async () => {
    const orders = postbag.queue('batch')
    await orders.create()

    const sent = await orders.sendBatch(Array.from({ length: 1000 }, (_, id) => ({ body: { id } })))
    const received = await orders.receive({ max: 1000 })

    assert.deepEqual(
      received.map((message) => [message.id, message.body]),
      sent.map(({ id }, index) => [id, { id: index }]),
    )
    assert.equal(await orders.purge(), 1000)
  })

  test('are peeked at a page at a time', async () => {
    const orders = postbag.queue('peeked')
    await orders.create()
    await orders.sendBatch([{ body: 1 }, { body: 2 }, { body: 3, delaySeconds: 60 }])

    const first = await orders.peek({ max: 2 })
    const second = await orders.peek({ max: 2, after: first.next })

    assert.deepEqual(
      [...first.messages, ...second.messages].map(({ body, state }) => [body, state]),
      [
        [1, 'ready'],
        [2, 'ready'],
        [3, 'delayed'],
      ],
    )
    assert.equal(second.next, undefined)
  })
})

test('a send whose answer got lost is made again and is still one message', async () => {
  let calls = 0
  const losing: typeof fetch = async (...request) => {
    const response = await fetch(...request)
    if (++calls > 1) return response
    await response.body?.cancel()
    throw new TypeError('connection lost')
  }
  const sleep = async (milliseconds: number, signal: AbortSignal) => {
    if (milliseconds > 1000) await onlyGrace(milliseconds, signal)
  }
  const orders = createClient({ url: server.url, fetch: losing, sleep }).queue('lossy')
  await postbag.queue('lossy').create()

  const sent = await orders.sendBatch([{ body: 1 }, { body: 2 }])

  assert.equal(calls, 2)
  assert.deepEqual(
    sent.map((message) => message.duplicate),
    [false, false],
  )
  assert.deepEqual(
    (await orders.peek()).messages.map(({ id, body }) => [id, body]),
    sent.map(({ id }, index) => [id, index + 1]),
  )
})

describe('leases', () => {
  test('are settled with a result per receipt', async () => {
    const orders = postbag.queue('settled')
    await orders.create()
    await orders.sendBatch([{ body: 1 }, { body: 2 }, { body: 3 }])
    const receipts = (await orders.receive({ max: 3 })).map((message) => message.receipt)
    const [first = '', second = '', third = ''] = receipts

    const outcomes = [
      await orders.extend([first, 'nonsense'], { leaseSeconds: 90 }),
      await orders.ack([first, first]),
      await orders.nack([second, third], { delaySeconds: 60, error: 'no stock' }),
      await orders.nack([second]),
    ].map((results) => results.map(({ outcome }) => outcome))

    assert.deepEqual(outcomes, [['ok', 'receipt_invalid'], ['ok', 'message_gone'], ['ok', 'ok'], ['lease_lost']])
    assert.equal((await orders.peek()).messages[0]?.lastError, 'no stock')
  })

  test('of others cannot be settled', async () => {
    const orders = postbag.queue('fenced')
    await orders.create()
    await orders.send(1)
    const [early] = await orders.receive()
    await early?.nack()
    const [late] = await orders.receive()

    await assert.rejects(early?.ack() ?? Promise.resolve(), { code: 'lease_lost' })
    await late?.ack()
    await assert.rejects(late?.ack() ?? Promise.resolve(), { code: 'message_gone' })
  })
})

describe('consume', () => {
  test('handles every message once, side by side, and leaves the queue empty', async () => {
    const orders = postbag.queue('consumed')
    await orders.create()
    await orders.sendBatch(Array.from({ length: 500 }, (_, id) => ({ body: id })))
    const stop = new AbortController()
    const seen: unknown[] = []

    await orders.consume({ concurrency: 50, signal: stop.signal }, ({ body }) => {
      if (seen.push(body) === 500) stop.abort()
    })

    assert.equal(new Set(seen).size, 500)
    assert.deepEqual((await orders.peek()).messages, [])
  })

  test('keeps the order of the queue in a loop, is woken by a message, and gives back what it left', async () => {
    const orders = postbag.queue('looped')
    await orders.create()
    await orders.sendBatch([{ body: 1 }, { body: 2 }])
    const seen: unknown[] = []

    for await (const message of orders.consume()) {
      seen.push(message.body)
      if (message.body === 2) await orders.send(3)
      if (message.body === 3) break
    }

    assert.deepEqual(seen, [1, 2, 3])
    assert.equal((await orders.stats()).ready, 1)
  })

  test('keeps the error of a handler with the message, which comes back', async () => {
    const orders = postbag.queue('failing')
    await orders.create()
    await orders.send(1)
    const stop = new AbortController()
    const attempts: number[] = []
    let lastError: string | undefined

    await orders.consume({ retryDelaySeconds: 0, signal: stop.signal }, async (message) => {
      attempts.push(message.attempts)
      if (message.attempts === 1) throw new Error('not now')
      lastError = (await orders.peek()).messages[0]?.lastError
      stop.abort()
    })

    assert.deepEqual(attempts, [1, 2])
    assert.equal(lastError, 'Error: not now')
  })

  test('ends when its queue is deleted', async () => {
    const orders = postbag.queue('deleted')
    await orders.create()
    await orders.send(1)

    await assert.rejects(
      orders.consume({}, () => orders.delete()),
      { code: 'queue_not_found' },
    )
  })
})
