/* Publishing: the forms of a request, what each queue gets, mandatory, and where a message would go. */
import assert from 'node:assert/strict'
import { assertProblem, type Case, call, json, type Target } from './target.ts'
import { newExchange, type TestExchange } from './test-exchange.ts'
import { bodyText, newQueue, type TestQueue } from './test-queue.ts'

/** A fanout exchange that leads to one queue. */
async function pair(target: Target): Promise<readonly [TestExchange, TestQueue]> {
  const [exchange, queue] = [await newExchange(target, { type: 'fanout' }), await newQueue(target, { maxPriority: 9 })]
  await exchange.bind({ queue: queue.name })
  return [exchange, queue]
}

const bodiesOf = async (queue: TestQueue) => (await queue.receive({ max: 100 })).map(({ body }) => body)

export const publishCases: readonly Case[] = [
  {
    claim: 'an event that is published goes by its type',
    async run(target) {
      const [exchange, queue] = [await newExchange(target, { type: 'topic' }), await newQueue(target)]
      await exchange.bind({ queue: queue.name, routingKey: 'order.*' })
      const event = { specversion: '1.0', id: '1', source: '/shop', type: 'order.created', data: { id: 1 } }

      const answer = await exchange.post({ body: JSON.stringify(event), contentType: 'application/cloudevents+json' })

      assert.deepEqual(json(answer, 201), { messages: [{ queues: 1 }] })
      const message = await queue.receiveOne()
      assert.deepEqual([message.body, message.type, message.routingKey], [{ id: 1 }, 'order.created', 'order.created'])
    },
  },
  {
    claim: 'one message goes to each queue that its routing key leads to, and says where it came from',
    async run(target) {
      const exchange = await newExchange(target, { type: 'topic' })
      const [eu, all, us] = [await newQueue(target), await newQueue(target), await newQueue(target)]
      await exchange.bind({ queue: eu.name, routingKey: 'order.*.eu' })
      await exchange.bind({ queue: all.name, routingKey: 'order.#' })
      await exchange.bind({ queue: us.name, routingKey: 'order.*.us' })

      const reached = await exchange.publish({
        body: { id: 1 },
        routingKey: 'order.created.eu',
        type: 'order',
        headers: { a: 'b' },
      })

      assert.deepEqual(reached, [2])
      for (const queue of [eu, all]) {
        const { body, type, headers, ...from } = await queue.receiveOne()
        assert.deepEqual([body, type, headers], [{ id: 1 }, 'order', { a: 'b' }])
        assert.deepEqual([from.exchange, from.routingKey], [exchange.name, 'order.created.eu'])
      }
      assert.deepEqual(await us.receive(), [])
    },
  },
  {
    claim: 'a batch is published in its order, with one result per message',
    async run(target) {
      const exchange = await newExchange(target)
      const [a, b] = [await newQueue(target), await newQueue(target)]
      await exchange.bind({ queue: a.name, routingKey: 'a' })
      await exchange.bind({ queue: a.name, routingKey: 'both' })
      await exchange.bind({ queue: b.name, routingKey: 'both' })

      const messages = ['both', 'none', 'a', 'both'].map((routingKey, body) => ({ body, routingKey }))
      assert.deepEqual(await exchange.publish({ messages }), [2, 0, 1, 2])

      assert.deepEqual(await bodiesOf(a), [0, 2, 3])
      assert.deepEqual(await bodiesOf(b), [0, 3])
    },
  },
  ...[
    '1.0',
    '12345678901234567890',
    '{"b" : 1,  "a":[1e2 ,"\\u00e9"]}',
    '"messages"',
    'null',
    '{"mandatory":true}',
  ].map(
    (text): Case => ({
      claim: `the published JSON ${text} comes back byte for byte, alone and in a batch`,
      async run(target) {
        const [exchange, queue] = await pair(target)
        for (const request of [
          `{"mandatory":true,"body":${text}}`,
          `{ "mandatory" : false, "messages":[ {"routingKey":"k", "body": ${text} } ]}`,
        ]) {
          assert.deepEqual(await exchange.publish(request), [1])
          assert.equal(bodyText(await queue.post('receive', { body: { autoAck: true } })), text)
        }
      },
    }),
  ),
  {
    claim: 'a raw body is a message, with its content type, and routing key and options of the query',
    async run(target) {
      const exchange = await newExchange(target)
      const queue = await newQueue(target, { maxPriority: 9 })
      await exchange.bind({ queue: queue.name, routingKey: 'a key' })
      const query = '?routingKey=a%20key&type=note&priority=7&mandatory=true'

      const text = await exchange.post({ body: 'grüße', contentType: 'text/plain' }, query)
      const bytes = await exchange.post({ body: Uint8Array.of(0, 255), contentType: 'image/png' }, query)

      assert.deepEqual(json(text, 201), { messages: [{ queues: 1 }] })
      assert.deepEqual(json(bytes, 201), { messages: [{ queues: 1 }] })
      const [first, second] = await queue.receive({ max: 2 })
      assert.deepEqual(
        [first?.body, first?.encoding, first?.contentType, first?.type, first?.priority],
        ['grüße', 'text', 'text/plain', 'note', 7],
      )
      assert.equal(first?.routingKey, 'a key')
      assert.deepEqual([second?.body, second?.encoding, second?.contentType], ['AP8=', 'base64', 'image/png'])
    },
  },
  {
    claim: 'what the query of a raw body must not say is refused, and so is no body at all',
    async run(target) {
      const [exchange, queue] = await pair(target)
      const raw = (query: string) => exchange.post({ body: 'raw', contentType: 'text/plain' }, query)

      const tooLong = await raw(`?routingKey=${'k'.repeat(256)}`)
      assertProblem(tooLong, 'request_invalid', /^routingKey must be at most 255 characters/)
      assertProblem(await raw('?mandatory=yes'), 'request_invalid', /^mandatory must be true or false, got "yes"$/)
      assertProblem(
        await raw('?key=k'),
        'request_invalid',
        /^the query has the unknown field key: known are .*routingKey/,
      )
      const none = await call(target, 'POST', `${exchange.path}/publish`)
      assertProblem(none, 'request_invalid', /^the request must have a body, got none/)
      assert.deepEqual(await queue.receive(), [])
    },
  },
  {
    claim:
      'a message without a way out is published to no queue; with mandatory it is message_unroutable, and nothing is sent',
    async run(target) {
      const [exchange, queue] = [await newExchange(target), await newQueue(target)]
      await exchange.bind({ queue: queue.name, routingKey: 'in' })
      const messages = [
        { body: 1, routingKey: 'in' },
        { body: 2, routingKey: 'out' },
      ]
      const lost =
        /^a message with mandatory must reach a queue, and messages\[\d\] with routing key "out" reaches none/

      assertProblem(await exchange.post({ body: { messages, mandatory: true } }), 'message_unroutable', lost)
      assertProblem(await exchange.post({ body: { messages } }, '?mandatory=true'), 'message_unroutable', lost)
      assertProblem(await exchange.post({ body: { ...messages[1], mandatory: true } }), 'message_unroutable', lost)
      assertProblem(await exchange.post({ body: { ...messages[1] } }, '?mandatory=true'), 'message_unroutable', lost)
      const raw = { body: 'raw', contentType: 'text/plain' }
      assertProblem(await exchange.post(raw, '?mandatory=true&routingKey=out'), 'message_unroutable', lost)
      assert.deepEqual(await queue.receive(), [])

      assert.deepEqual(await exchange.publish({ messages }), [1, 0])
      assert.deepEqual(await exchange.publish({ messages, mandatory: false }, '?mandatory=true'), [1, 0])
      assert.deepEqual(await exchange.publish({ ...messages[0], mandatory: true }), [1])
      assert.equal((await queue.receive({ max: 10 })).length, 3)
    },
  },
  {
    claim: 'a queue that is full refuses the whole publish',
    async run(target) {
      const exchange = await newExchange(target, { type: 'fanout' })
      const [roomy, full] = [await newQueue(target), await newQueue(target, { maxMessages: 1 })]
      for (const queue of [roomy, full]) await exchange.bind({ queue: queue.name })
      await full.sendAll('there')

      assertProblem(await exchange.post({ body: { body: 1 } }), 'queue_full')

      assert.deepEqual(await roomy.receive(), [])
    },
  },
  {
    claim: 'more than 1000 messages, or a body of more than 1 MiB, are refused',
    async run(target) {
      const [exchange, queue] = await pair(target)
      const many = { messages: Array.from({ length: 1001 }, () => ({ body: 1 })) }

      assertProblem(await exchange.post({ body: many }), 'batch_too_large', /^messages must be between 1 and 1000/)
      const large = { body: 'x'.repeat(1_048_577), encoding: 'text' }
      assertProblem(await exchange.post({ body: large }), 'body_too_large', /^body must be at most 1048576 bytes/)

      assert.deepEqual(await queue.receive(), [])
    },
  },
  {
    claim: 'a publish wakes who waits at a queue that it reaches',
    async run(target) {
      const [exchange, queue] = await pair(target)

      const waiting = queue.receive({ waitSeconds: 20 })
      await exchange.publish({ body: 'awake' })

      assert.deepEqual(
        (await waiting).map(({ body }) => body),
        ['awake'],
      )
    },
  },
  {
    claim: 'a route is explained, through other exchanges and alternates, and nothing is sent',
    async run(target) {
      const rest = await newExchange(target, { type: 'fanout' })
      const source = await newExchange(target, { type: 'headers', alternate: rest.name })
      const [queue, last] = [await newQueue(target), await newQueue(target)]
      await source.bind({ exchange: rest.name, headers: { region: 'eu' } })
      await source.bind({ queue: queue.name, headers: { urgent: null, region: 'eu' }, match: 'any' })
      await rest.bind({ queue: queue.name })
      await rest.bind({ queue: last.name })

      const fits = await source.route({ routingKey: 'k', headers: { region: 'eu' } })
      const strays = await source.route({})

      assert.deepEqual([...fits.queues].sort(), [queue.name, last.name].sort())
      assert.deepEqual(
        fits.steps.filter((step) => step.source === source.name),
        [
          {
            source: source.name,
            type: 'headers',
            routingKey: '',
            headers: { region: 'eu' },
            match: 'all',
            exchange: rest.name,
            alternate: false,
          },
          {
            source: source.name,
            type: 'headers',
            routingKey: '',
            headers: { urgent: null, region: 'eu' },
            match: 'any',
            queue: queue.name,
            alternate: false,
          },
        ],
      )
      assert.deepEqual(strays.steps[0], { source: source.name, type: 'headers', exchange: rest.name, alternate: true })
      assert.deepEqual([...strays.queues].sort(), [queue.name, last.name].sort())
      assert.deepEqual([...(await queue.receive()), ...(await last.receive())], [])
    },
  },
]
