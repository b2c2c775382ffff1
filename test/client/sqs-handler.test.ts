/* Handlers written for Lambda and SQS: the event that they get, and what becomes of what they return. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { before, describe, test } from 'node:test'
import type { SQSEvent, SQSHandler } from 'aws-lambda'
import fc from 'fast-check'
import { z } from 'zod'
import { createClient, type Queue, type QueueError } from '../../src/client/index.ts'
import { md5 } from '../../src/client/md5.ts'
import { failuresIn } from '../../src/client/sqs-event.ts'
import { consumeWithSqsHandler, type SqsHandler } from '../../src/client/sqs-handler.ts'
import { type RealServer, startRealServer } from './real-server.ts'
import { cut, messages, outcome, problem, receiveAnswer, type ScriptedServer, serve } from './scripted-server.ts'

let real: RealServer
before(async () => {
  real = await startRealServer()
})

const stopWhenEmpty = true
const once = { retryDelaySeconds: 3600, stopWhenEmpty }

async function queueWith(...bodies: readonly unknown[]): Promise<Queue> {
  const queue = await real.createQueue()
  await queue.sendBatch(bodies.map((body) => ({ body })))
  return queue
}

/** The bodies that are left, with what was said of them. */
async function leftIn(queue: Queue) {
  return (await queue.peek({ max: 100 })).messages.map(({ body, lastError, state }) => [body, state, lastError])
}

describe('the event', () => {
  test('has SQS’s published shape', async () => {
    const queue = await real.createQueue()
    await queue.send({ id: 1 }, { headers: { tenant: 'a' }, group: 'account-7' })
    const events: SQSEvent[] = []
    const handler: SQSHandler = async (event) => void events.push(event)

    await consumeWithSqsHandler(queue, handler, {
      stopWhenEmpty,
      eventSourceArn: 'arn:aws:sqs:eu-central-1:123456789012:orders.fifo',
    })

    const { messageId, receiptHandle, attributes, ...record } = events[0]?.Records[0] ?? assert.fail('no record')
    const { SentTimestamp, ApproximateFirstReceiveTimestamp, ...counted } = attributes
    assert.deepEqual(record, {
      body: '{"id":1}',
      messageAttributes: {
        tenant: { stringValue: 'a', stringListValues: [], binaryListValues: [], dataType: 'String' },
      },
      md5OfBody: createHash('md5').update('{"id":1}').digest('hex'),
      eventSource: 'aws:sqs',
      eventSourceARN: 'arn:aws:sqs:eu-central-1:123456789012:orders.fifo',
      awsRegion: 'eu-central-1',
    })
    assert.deepEqual(counted, {
      ApproximateReceiveCount: '1',
      SenderId: 'postbag',
      SequenceNumber: messageId.padStart(20, '0'),
      MessageGroupId: 'account-7',
    })
    assert.ok(receiptHandle)
    for (const time of [SentTimestamp, ApproximateFirstReceiveTimestamp]) {
      assert.ok(Math.abs(Number(time) - Date.now()) < 60_000, time)
    }
  })

  test('has text as it is, JSON as it is written anew and bytes in base64', async () => {
    const queue = await real.createQueue()
    await queue.sendBatch([{ body: 'plain', encoding: 'text' }, { body: 'quoted' }, { body: Uint8Array.of(0, 255) }])
    const bodies: string[] = []

    await consumeWithSqsHandler(queue, async (event) => void bodies.push(...event.Records.map(({ body }) => body)), {
      stopWhenEmpty,
    })

    assert.deepEqual(bodies, ['plain', '"quoted"', 'AP8='])
  })

  test('has the value of JSON, not the text that was sent; and md5OfBody fits it', async () => {
    const { name } = await real.createQueue()
    const sent = '{"id": 12345678901234567890, "n": 1.0, "2": 1, "1": 2}'
    await fetch(`${real.url}/v1/queues/${name}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"messages":[{"body":${sent}}]}`,
    })
    const handler = async ({ Records: [record] }: SQSEvent) => {
      assert.equal(record?.body, '{"1":2,"2":1,"id":12345678901234567000,"n":1}')
      assert.equal(record.md5OfBody, createHash('md5').update(record.body).digest('hex'))
    }

    await consumeWithSqsHandler(real.client.queue(name), handler, once)

    assert.deepEqual(await leftIn(real.client.queue(name)), [])
  })

  test('holds up to batchSize messages, 10 by default', async () => {
    const sizes: number[] = []
    const handler: SqsHandler = async (event) => void sizes.push(event.Records.length)

    await consumeWithSqsHandler(await queueWith(...Array(12).keys()), handler, { stopWhenEmpty })
    await consumeWithSqsHandler(await queueWith(1, 2, 3), handler, { stopWhenEmpty, batchSize: 2 })

    assert.deepEqual(sizes, [10, 2, 2, 1])
  })
})

describe('a partial batch response', () => {
  test('acks all but the failures, which may be received again', async () => {
    const queue = await queueWith('a', 'b', 'c')

    await consumeWithSqsHandler(
      queue,
      async ({ Records }: SQSEvent) => ({ batchItemFailures: [{ itemIdentifier: Records[1]?.messageId ?? '' }] }),
      once,
    )

    assert.deepEqual(await leftIn(queue), [['b', 'delayed', 'reported in batchItemFailures']])
  })

  const ids = ['1', '2']
  for (const [what, returned, failed] of [
    ['nothing', undefined, []],
    ['null', null, []],
    ['an object without a list', {}, []],
    ['a null list', { batchItemFailures: null }, []],
    ['an empty list', { batchItemFailures: [] }, []],
    ['one of the batch', { batchItemFailures: [{ itemIdentifier: '2' }] }, ['2']],
    ['an empty identifier', { batchItemFailures: [{ itemIdentifier: '' }] }, ids],
    ['a null identifier', { batchItemFailures: [{ itemIdentifier: '1' }, { itemIdentifier: null }] }, ids],
    ['a bad key', { batchItemFailures: [{ id: '1' }] }, ids],
    ['a null entry', { batchItemFailures: [null] }, ids],
    ['an id that is not in the batch', { batchItemFailures: [{ itemIdentifier: '3' }] }, ids],
    ['something that is no list', { batchItemFailures: 'all' }, ids],
  ] as const) {
    test(`of ${what}: ${failed.length === 0 ? 'all is done' : `failed are ${failed}`}`, () => {
      assert.deepEqual(failuresIn(returned, ids), failed)
    })
  }

  test('of what follows a failure in its group keeps the order of the group', async () => {
    const queue = await real.createQueue()
    await queue.sendBatch(['a1', 'a2', 'a3'].map((body) => ({ body, group: 'a' })))
    const seen: unknown[] = []
    const handler = async ({ Records }: SQSEvent) => {
      seen.push(Records.map(({ body }) => JSON.parse(body)))
      const failing = seen.length === 1 ? Records.slice(1) : []
      return { batchItemFailures: failing.map(({ messageId }) => ({ itemIdentifier: messageId })) }
    }

    await consumeWithSqsHandler(queue, handler, { stopWhenEmpty })

    assert.deepEqual(seen.flat(), ['a1', 'a2', 'a3', 'a2', 'a3'])
    assert.deepEqual(await leftIn(queue), [])
  })
})

describe('a queue with a schema', () => {
  const schema = z.object({ id: z.number() })

  test('hands on what fits, and nacks what does not, each with its own error', async () => {
    const plain = await queueWith({ id: 1 }, { id: 'two' }, { id: 3 }, 'four')
    const seen: string[] = []
    const errors: string[] = []

    await consumeWithSqsHandler(
      real.client.queue(plain.name, { schema }),
      async ({ Records }: SQSEvent) => void seen.push(...Records.map(({ body }) => body)),
      { ...once, onError: (error) => errors.push((error as QueueError).code) },
    )

    assert.deepEqual(seen, ['{"id":1}', '{"id":3}'])
    assert.deepEqual(errors, ['request_invalid', 'request_invalid'])
    const left = await leftIn(plain)
    assert.deepEqual(
      left.map(([body, state]) => [body, state]),
      [
        [{ id: 'two' }, 'delayed'],
        ['four', 'delayed'],
      ],
    )
    assert.match(`${left[0]?.[2]}`, /^QueueError: body\.id: /)
    assert.match(`${left[1]?.[2]}`, /^QueueError: body: /)
  })

  test('does not call the handler where nothing fits', async () => {
    const plain = await queueWith('one')

    await consumeWithSqsHandler(
      real.client.queue(plain.name, { schema }),
      async () => assert.fail('nothing to handle'),
      once,
    )

    assert.deepEqual(
      (await leftIn(plain)).map(([body, state]) => [body, state]),
      [['one', 'delayed']],
    )
  })

  test('gives back what follows in the group of what does not fit: it keeps its order, and its attempt does not count', async () => {
    const plain = await real.createQueue({ maxAttempts: 2 })
    await plain.sendBatch(['bad', { id: 2 }, { id: 3 }].map((body) => ({ body, group: 'a' })))
    const seen: string[][] = []

    await consumeWithSqsHandler(
      real.client.queue(plain.name, { schema }),
      async ({ Records }: SQSEvent) =>
        void seen.push(...Records.map(({ body, attributes }) => [body, attributes.ApproximateReceiveCount])),
      { stopWhenEmpty },
    )

    assert.deepEqual(seen, [
      ['{"id":2}', '1'],
      ['{"id":3}', '1'],
    ])
    assert.deepEqual(
      (await leftIn(plain)).map(([body, state]) => [body, state]),
      [['bad', 'dead']],
    )
  })
})

describe('a handler', () => {
  test('that throws fails its whole batch, with the error', async () => {
    const queue = await queueWith('a', 'b')
    const errors: unknown[] = []

    await consumeWithSqsHandler(queue, () => Promise.reject(new Error('broken')), {
      ...once,
      onError: (error) => errors.push(String(error)),
    })

    assert.deepEqual(errors, ['Error: broken'])
    assert.deepEqual(
      await leftIn(queue),
      ['a', 'b'].map((body) => [body, 'delayed', 'Error: broken']),
    )
  })

  test('that throws what has no text fails its batch all the same', async () => {
    const queue = await queueWith('a')

    await consumeWithSqsHandler(queue, () => Promise.reject(Object.create(null)), once)

    assert.deepEqual(await leftIn(queue), [['a', 'delayed', 'something without a text']])
  })

  test('may call back instead of returning a promise, and gets the context', async () => {
    const queue = await queueWith('a')
    const context = { awsRequestId: '7' }
    const seen: unknown[] = []
    const handler: SQSHandler = (_event, given, callback) => {
      seen.push(given)
      setImmediate(callback, null, { batchItemFailures: [] })
    }

    await consumeWithSqsHandler(queue, handler, { stopWhenEmpty, context })

    assert.deepEqual(seen, [context])
    assert.deepEqual(await leftIn(queue), [])
  })

  test('that takes longer than the lease keeps its messages', async () => {
    const queue = await queueWith('a')
    const errors: unknown[] = []
    const attempts: string[] = []
    const handler: SqsHandler = async ({ Records }) => {
      attempts.push(...Records.map(({ attributes }) => attributes.ApproximateReceiveCount))
      await new Promise((resolve) => setTimeout(resolve, 4000))
    }

    await consumeWithSqsHandler(queue, handler, {
      stopWhenEmpty,
      leaseSeconds: 3,
      onError: (error) => errors.push(error),
    })

    assert.deepEqual([attempts, errors, await leftIn(queue)], [['1'], [], []])
  })
})

describe('the consumer', () => {
  test('waits for messages until it is told to stop, and ends the batch it has', async () => {
    const queue = await real.createQueue()
    const stop = new AbortController()
    const handler: SqsHandler = async () => stop.abort()

    const consumer = consumeWithSqsHandler(queue, handler, { signal: stop.signal })
    await queue.send('late')
    await consumer

    assert.deepEqual(await leftIn(queue), [])
  })

  test('stops at once while it waits', async () => {
    const stop = new AbortController()
    const consumer = consumeWithSqsHandler(await real.createQueue(), async () => {}, { signal: stop.signal })

    stop.abort()

    await consumer
  })

  test('asks again after a pause where it is answered at once instead of being let wait', async (t) => {
    const server = await serve(t, { receive: Array(999).fill(receiveAnswer([])) })
    const orders = createClient({ url: server.url }).queue('orders')

    await consumeWithSqsHandler(orders, async () => {}, { signal: AbortSignal.timeout(1000) })

    assert.ok(server.seen('receive').length < 50, `${server.seen('receive').length} receives`)
  })

  test('refuses a lease that cannot be', async () => {
    await assert.rejects(
      consumeWithSqsHandler(real.client.queue('any'), async () => {}, { leaseSeconds: 0 }),
      { message: 'leaseSeconds must be between 1 and 43200, got 0' },
    )
  })

  test('ends with the error of a queue that does not exist', async () => {
    const nothing = real.client.queue('nobody-made-this')

    await assert.rejects(
      consumeWithSqsHandler(nothing, async () => {}),
      { code: 'queue_not_found' },
    )
  })
})

describe('while the server is away', () => {
  const oneFails: SqsHandler = async () => ({ batchItemFailures: [{ itemIdentifier: '2' }] })
  const receipts = (server: ScriptedServer, verb: 'ack' | 'nack') =>
    server.seen(verb).map(({ body }) => body.receipts.join())

  test('acks and nacks are tried again for as long as the lease is ours, and the handler is not called again', async (t) => {
    const server = await serve(t, {
      receive: [messages('1', '2'), receiveAnswer([])],
      ack: [cut, cut, outcome('message_gone')],
      nack: [cut, outcome('lease_lost')],
    })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')
    const codes: string[] = []

    await consumeWithSqsHandler(orders, oneFails, {
      stopWhenEmpty,
      onError: (error) => codes.push((error as QueueError).code),
    })

    assert.deepEqual(receipts(server, 'ack'), ['1.1', '1.1', '1.1'])
    assert.deepEqual(receipts(server, 'nack'), ['2.1', '2.1'])
    // That the message is gone is what an ack wants.
    assert.deepEqual(codes, Array(3).fill('network_error'))
  })

  test('they are given up when the lease is over, each by itself', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2')], ack: Array(999).fill(cut) })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')

    await assert.rejects(consumeWithSqsHandler(orders, oneFails, { stopWhenEmpty, leaseSeconds: 1 }), {
      code: 'network_error',
    })

    assert.ok(receipts(server, 'ack').length > 1)
    assert.deepEqual(receipts(server, 'nack'), ['2.1'])
  })

  test('nacks are sent though the server refuses the acks', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2')], ack: [problem('scope_missing')] })
    const orders = createClient({ url: server.url }).queue('orders')

    await assert.rejects(consumeWithSqsHandler(orders, oneFails), { code: 'scope_missing' })

    assert.deepEqual(receipts(server, 'nack'), ['2.1'])
  })
})

describe('an error that onError throws ends the consumer, and the batch in hand is settled before', () => {
  const enough = new Error('enough')
  const onError = () => {
    throw enough
  }

  test('when the handler threw', async () => {
    const queue = await queueWith('a')

    await assert.rejects(
      consumeWithSqsHandler(queue, () => Promise.reject(new Error('broken')), { ...once, onError }),
      enough,
    )

    assert.deepEqual(await leftIn(queue), [['a', 'delayed', 'Error: broken']])
  })

  test('when its promise rejects', async () => {
    const queue = await queueWith('a')
    const handler = () => Promise.reject(new Error('broken'))

    await assert.rejects(
      consumeWithSqsHandler(queue, handler, { ...once, onError: () => Promise.reject(enough) }),
      enough,
    )

    assert.deepEqual(await leftIn(queue), [['a', 'delayed', 'Error: broken']])
  })

  test('when an extension failed', async (t) => {
    const server = await serve(t, { receive: [messages('1')], extend: [problem('queue_not_found')] })
    const client = createClient({ url: server.url })
    const handler: SqsHandler = async () => {
      await server.request('extend', 1)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }

    await assert.rejects(consumeWithSqsHandler(client.queue('orders'), handler, { leaseSeconds: 1, onError }), enough)

    assert.deepEqual(
      server.seen('ack').map(({ body }) => body.receipts),
      [['1.1']],
    )
  })

  test('when the server is away, though the error that is thrown is of a kind that passes', async (t) => {
    const server = await serve(t, { receive: [cut, cut] })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')
    let errors = 0

    await assert.rejects(
      consumeWithSqsHandler(orders, async () => {}, {
        onError(error) {
          if (++errors === 1) throw error
        },
      }),
      { code: 'network_error' },
    )
    assert.equal(server.seen('receive').length, 1)
  })
})

test('md5 is Node’s, for any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
      assert.equal(md5(text), createHash('md5').update(text).digest('hex'))
    }),
  )
})
