/* CloudEvents 1.0 over HTTP in all three modes, in and out, and the trace of a request. */
import assert from 'node:assert/strict'
import { type Answer, assertProblem, type Case } from './target.ts'
import { newExchange } from './test-exchange.ts'
import { newQueue, type TestQueue } from './test-queue.ts'

const structured = 'application/cloudevents+json'
const batch = 'application/cloudevents-batch+json'
const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const otherTrace = '00-11111111111111111111111111111111-2222222222222222-00'

const small = { specversion: '1.0', id: 'a', source: '/s', type: 't' }

const whole = {
  ...small,
  id: 'A-1 "ü" 100%',
  source: 'https://example.com/shop?x=%20',
  subject: 'Grüße / 日本 % "quoted"',
  time: '2026-01-31T12:00:00.123456+01:00',
  dataschema: 'urn:example:schema',
  partitionkey: 'customer 7',
  constructor: 'an extension like any other',
  flag: true,
  sequence: -5,
}

/** Each is an event, and comes out equal. */
const events: readonly object[] = [
  { ...whole, datacontenttype: 'application/json', data: { id: 1, deep: [null, 'ü'] } },
  { ...small, data: 'a JSON string' },
  { ...small, data: null },
  small,
  { ...small, datacontenttype: 'application/json' },
  { ...small, datacontenttype: 'text/plain; charset=utf-8', data: 'text "1.0"' },
  { ...small, datacontenttype: 'text/plain', data: '' },
  { ...small, datacontenttype: 'text/plain', data: { unusual: true } },
  { ...small, datacontenttype: 'image/png', data_base64: '/9j/AAECAwQ=' },
  { ...small, datacontenttype: 'application/json', data_base64: 'eyJhIjoxfQ==' },
  { ...small, data_base64: '' },
  { ...small, flag: false, text: 'true', digits: '5', min: -2147483648, empty: '' },
]

const bad: readonly (readonly [what: object | string, detail: RegExp])[] = [
  ['[]', /^the event must be an object, got \[\]$/],
  [{ ...small, specversion: '0.3' }, /^specversion must be "1\.0", got "0\.3"$/],
  [{ ...small, specversion: null }, /^specversion must be "1\.0", got nothing$/],
  [{ ...small, id: '' }, /^id must be 1 or more characters of text without control characters, got ""$/],
  [{ ...small, id: 5 }, /^id must be 1 or more characters.*, got 5$/],
  [{ ...small, id: undefined }, /^id must be .*, got nothing$/],
  [{ ...small, source: undefined }, /^source must be a URI reference.*, got nothing$/],
  [{ ...small, source: 'not a uri' }, /^source must be a URI reference \(RFC 3986\), got "not a uri"$/],
  [{ ...small, type: undefined }, /^type must be 1 to 255 characters.*, got nothing$/],
  [{ ...small, type: 'x'.repeat(256) }, /^type must be 1 to 255 characters/],
  [{ ...small, subject: '' }, /^subject must be 1 or more characters/],
  [{ ...small, subject: 'a\nb' }, /^subject must be .* without control characters, got "a\\nb"$/],
  [{ ...small, time: '2026-02-30T00:00:00Z' }, /^time must be a time \(RFC 3339\)/],
  [{ ...small, time: 'yesterday' }, /^time must be a time \(RFC 3339\)/],
  [{ ...small, dataschema: '/relative' }, /^dataschema must be a URI \(RFC 3986\)/],
  [{ ...small, datacontenttype: 'json' }, /^datacontenttype must be a media type/],
  [{ ...small, partitionkey: 'x'.repeat(129) }, /^partitionkey must be 1 to 128 characters/],
  [{ ...small, myExtension: 'x' }, /^myExtension must be named with lower-case letters and digits only/],
  [{ ...small, 'my-extension': 'x' }, /^my-extension must be named with/],
  ['{"specversion":"1.0","id":"a","source":"/s","type":"t","__proto__":{"a":1}}', /^__proto__ must be named with/],
  [{ ...small, extension: {} }, /^extension must be a string, a boolean or a whole number of 32 bits, got \{\}$/],
  [{ ...small, extension: 1.5 }, /^extension must be a string, a boolean or a whole number of 32 bits, got 1\.5$/],
  [{ ...small, extension: 2 ** 31 }, /^extension must be .* got 2147483648$/],
  [{ ...small, data: 1, data_base64: 'AAA=' }, /^data must not be given with data_base64, got both$/],
  [{ ...small, data_base64: 'AA=' }, /^data_base64 must be base64, got "AA="$/],
  [{ ...small, datacontenttype: 'text/plain', data: 'a\0b' }, /^data must be well-formed text without U\+0000/],
  [{ ...small, extension: 'x'.repeat(20_000) }, /^attributes must be at most 16384 bytes/],
]

const post = (queue: TestQueue, events: object | string, contentType: string, headers = {}, query = '') =>
  queue.post(`messages${query}`, {
    body: typeof events === 'string' ? events : JSON.stringify(events),
    contentType,
    headers,
  })

async function sent(answer: Promise<Answer>): Promise<readonly { id: string; duplicate: boolean }[]> {
  const { status, text } = await answer
  assert.equal(status, 201, text)
  return JSON.parse(text).messages
}

async function receiveBatch(queue: TestQueue): Promise<readonly Record<string, unknown>[]> {
  const answer = await queue.post('receive', { body: { max: 1000 }, headers: { accept: batch } })
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, batch], answer.text)
  return JSON.parse(answer.text)
}

/** Without what belongs to the lease. */
function withoutLease(event: object): object {
  return Object.fromEntries(Object.entries(event).filter(([name]) => !name.startsWith('postbag')))
}

export const cloudEventCases: readonly Case[] = [
  ...events.map(
    (event): Case => ({
      claim: `the structured event ${JSON.stringify(event).slice(0, 140)} comes out equal`,
      async run(target) {
        const queue = await newQueue(target)
        const [message] = await sent(post(queue, event, `${structured}; charset=utf-8`))

        const answer = await queue.post('receive', { body: {}, headers: { accept: structured } })

        assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, structured], answer.text)
        const { postbagid, postbagreceipt, postbagattempts, postbagleaseduntil, ...came } = JSON.parse(answer.text)
        assert.deepEqual(came, JSON.parse(JSON.stringify(event)))
        assert.deepEqual([postbagid, postbagattempts], [message?.id, 1])
        assert.ok(Date.parse(postbagleaseduntil) > 0)
        assert.deepEqual(await queue.ack(postbagreceipt), ['ok'])
      },
    }),
  ),
  {
    claim: 'a batch of events is sent and received in its order, and each comes out equal',
    async run(target) {
      const queue = await newQueue(target)
      const numbered = events.map((event, index) => ({ ...event, id: String(index), partitionkey: 'one' }))

      await sent(post(queue, numbered, batch))

      assert.deepEqual((await receiveBatch(queue)).map(withoutLease), numbered)
      assert.deepEqual(await receiveBatch(queue), [])
    },
  },
  {
    claim: 'JSON data of events comes out byte for byte',
    async run(target) {
      const queue = await newQueue(target)
      const event = (id: string) =>
        `{ "data" : {"a": 1.0, "b":12345678901234567890 } ,"specversion":"1.0","id":"${id}","source":"/s","type":"t"}`

      await sent(post(queue, `[${event('1')}, ${event('2')}]`, batch))

      const { text } = await queue.post('receive', { body: { max: 2 }, headers: { accept: batch } })
      assert.equal(text.split('"data":{"a": 1.0, "b":12345678901234567890 }}').length, 3, text)
    },
  },
  {
    claim: 'an event in binary mode comes out equal in binary mode, its values percent-encoded, its data as bytes',
    async run(target) {
      const queue = await newQueue(target)
      const headers = {
        'ce-specversion': '1.0',
        'ce-id': '%22a%22%20%25',
        'ce-source': '/s?x=%2541',
        'ce-type': 'order.created',
        'ce-subject': 'Gr%C3%BC%C3%9Fe%20%F0%9F%91%8B',
        'ce-time': '2026-01-31T12:00:00Z',
        'ce-tenant': '100%25',
      }
      const body = Uint8Array.from({ length: 256 }, (_, byte) => byte)
      const answer = await queue.post('messages', { body, contentType: 'image/png', headers })
      assert.equal(answer.status, 201, answer.text)
      const { messages } = await queue.peek()
      assert.equal(messages[0]?.headers['ce-subject'], 'Grüße 👋')
      assert.equal(messages[0]?.headers['ce-source'], '/s?x=%41')

      const response = await fetch(`${target.url}${queue.path}/receive?cloudevents=binary`, {
        method: 'POST',
        headers: { authorization: `Bearer ${target.token}` },
      })

      assert.equal(response.status, 200)
      const came = Object.fromEntries([...response.headers].filter(([name]) => /^ce-(?!postbag)/.test(name)))
      assert.deepEqual(came, headers)
      assert.equal(response.headers.get('content-type'), 'image/png')
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), body)
      assert.deepEqual(await queue.ack(response.headers.get('ce-postbagreceipt') ?? ''), ['ok'])
    },
  },
  {
    claim: 'an event keeps its JSON in every pair of modes; without data it has an empty body',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' }
      await sent(queue.post('messages', { body: '{"a": 1.0}', headers }))
      await sent(post(queue, `{"specversion":"1.0","id":"2","source":"/s","type":"t","data":{"a": 1.0}}`, structured))
      await sent(post(queue, { ...small, id: '3' }, structured))

      const first = await queue.post('receive', { body: {}, headers: { accept: structured } })
      const second = await queue.post('receive?cloudevents=binary', { body: {} })
      const third = await queue.post('receive?cloudevents=binary', { body: {} })

      assert.match(first.text, /"datacontenttype":"application\/json".*,"data":\{"a": 1\.0\}\}$/)
      assert.deepEqual([second.text, second.headers.get('content-type')], ['{"a": 1.0}', 'application/json'])
      assert.deepEqual([third.status, third.text, third.headers.get('ce-id')], [200, '', '3'])
    },
  },
  {
    claim: 'an event’s type, content type and partition key are the message’s; the other attributes are headers',
    async run(target) {
      const queue = await newQueue(target, { maxPriority: 5 })

      await sent(post(queue, events[0] ?? {}, structured, {}, '?priority=4&ttlSeconds=60'))

      const { type, contentType, group, priority, headers, body, expiresAt } = await queue.receiveOne()
      assert.deepEqual(
        [type, contentType, group, priority, body],
        ['t', 'application/json', 'customer 7', 4, { id: 1, deep: [null, 'ü'] }],
      )
      assert.ok(expiresAt)
      const { type: _, ...kept } = whole
      assert.deepEqual(headers, {
        ...Object.fromEntries(Object.entries(kept).map(([name, value]) => [`ce-${name}`, String(value)])),
        'ce.typed': 'flag sequence',
      })
    },
  },
  {
    claim: 'source and id together are the dedup id, however long they are',
    async run(target) {
      const queue = await newQueue(target)
      const long = 'x'.repeat(300)
      const duplicates = async (event: object) =>
        (await sent(post(queue, event, structured))).map(({ duplicate }) => duplicate)

      assert.deepEqual(await duplicates(small), [false])
      assert.deepEqual(await duplicates({ ...small, data: 'another' }), [true])
      assert.deepEqual(await duplicates({ ...small, source: '/other' }), [false])
      assert.deepEqual(await duplicates({ ...small, id: long }), [false])
      assert.deepEqual(await duplicates({ ...small, id: long }), [true])
      assert.deepEqual(await duplicates({ ...small, id: `${long}y` }), [false])
    },
  },
  {
    claim:
      'a message that was not sent as an event becomes one: what is missing has a default, what breaks a rule is left out',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { tenant: 'a', 'x-other': 'b', id: 'not the id', 'ce-time': 'never', 'ce-subject': 'seven' }
      await queue.send({ body: { a: 1 }, group: 'g', headers })
      await queue.send({ body: 'x', encoding: 'text', type: 'note', contentType: 'bad\nX-Injected: yes', group: 'h' })
      const { messages } = await queue.peek()

      const [first, second] = (await receiveBatch(queue)).map(withoutLease)

      const source = `/v1/queues/${queue.name}`
      const common = { specversion: '1.0', source }
      const [one, two] = messages
      assert.deepEqual(first, {
        ...common,
        id: one?.id,
        type: 'postbag.message',
        time: one?.sentAt,
        subject: 'seven',
        partitionkey: 'g',
        tenant: 'a',
        data: { a: 1 },
      })
      assert.deepEqual(second, {
        ...common,
        id: two?.id,
        type: 'note',
        time: two?.sentAt,
        partitionkey: 'h',
        datacontenttype: 'text/plain',
        data: 'x',
      })
    },
  },
  {
    claim: 'where there is no event, one is answered 204, a batch is empty; autoAck hands out events without a receipt',
    async run(target) {
      const queue = await newQueue(target)

      const one = await queue.post('receive', { body: {}, headers: { accept: structured } })
      const binary = await queue.post('receive?cloudevents=binary', { body: {} })
      await sent(post(queue, small, structured))
      const gone = await queue.post('receive', { body: { autoAck: true }, headers: { accept: structured } })

      assert.deepEqual([one.status, one.text, binary.status, binary.text], [204, '', 204, ''])
      assert.equal('postbagreceipt' in JSON.parse(gone.text), false)
      assert.deepEqual(await queue.peek(), { messages: [] })
    },
  },
  {
    claim: 'a received event can be sent on as it is: the lease’s attributes do not go with it',
    async run(target) {
      const queue = await newQueue(target)
      const next = await newQueue(target)
      await sent(post(queue, small, structured))

      const [event = {}] = await receiveBatch(queue)
      await sent(post(next, event, structured))

      assert.deepEqual((await receiveBatch(next)).map(withoutLease), [small])
      assert.ok(event['postbagreceipt'])
    },
  },
  {
    claim: 'what one asks for in vain of a receive of events is refused, and leases nothing',
    async run(target) {
      const queue = await newQueue(target)
      await sent(post(queue, small, structured))
      const accept = (accept: string, body: object) => queue.post('receive', { body, headers: { accept } })

      assertProblem(await accept(structured, { max: 2 }), 'request_invalid', /^max must be 1 .* got 2/)
      assertProblem(await accept(batch, { acks: ['x'] }), 'request_invalid', /^acks must not be given/)
      assertProblem(
        await queue.post('receive?cloudevents=batch', { body: {} }),
        'request_invalid',
        /^cloudevents must be binary, got "batch"/,
      )

      assert.equal((await queue.stats()).ready, 1)
    },
  },
  {
    claim: 'of several media types the one that is liked best is answered, and ours if anything will do',
    async run(target) {
      const queue = await newQueue(target)
      const type = async (accept: string) =>
        (await queue.post('receive', { body: {}, headers: { accept } })).headers.get('content-type')

      assert.equal(await type('*/*'), 'application/json')
      assert.equal(await type('application/json, application/cloudevents-batch+json;q=0.5'), 'application/json')
      assert.equal(await type('application/json;q=0.1, Application/CloudEvents-Batch+JSON'), batch)
    },
  },
  ...bad.map(
    ([event, detail]): Case => ({
      claim: `the bad event ${(typeof event === 'string' ? event : JSON.stringify(event)).slice(0, 140)} is refused: ${detail.source.slice(0, 80)}`,
      async run(target) {
        const queue = await newQueue(target)

        assertProblem(await post(queue, event, structured), 'request_invalid', detail)

        assert.deepEqual((await queue.peek()).messages, [])
      },
    }),
  ),
  {
    claim:
      'a batch with one bad event is refused whole, and says which; so is one of none or of 1001, and one that is no batch',
    async run(target) {
      const queue = await newQueue(target)

      const one = await post(queue, [small, { ...small, id: '' }], batch)
      const none = await post(queue, [], batch)
      const many = await post(
        queue,
        Array.from({ length: 1001 }, () => small),
        batch,
      )
      const other = await post(queue, small, batch)
      const format = await post(queue, '<event/>', 'application/cloudevents+xml')
      const broken = await post(queue, '{', structured)
      const field = await post(queue, small, structured, {}, '?dedupId=x')

      assertProblem(one, 'request_invalid', /^events\[1\]\.id must be 1 or more characters/)
      assertProblem(none, 'request_invalid', /^the batch must be between 1 and 1000 events, got 0/)
      assertProblem(many, 'batch_too_large', /^the batch must be between 1 and 1000 events, got 1001/)
      assertProblem(other, 'request_invalid', /^the batch must be an array of events/)
      assertProblem(format, 'request_invalid', /^content-type must be application\/cloudevents\+json or /)
      assertProblem(broken, 'json_invalid')
      assertProblem(field, 'request_invalid', /unknown field dedupId/)
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a bad event in binary mode is refused, and named by its header',
    async run(target) {
      const queue = await newQueue(target)
      const good = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' }
      const refusal = async (
        headers: object,
        detail: RegExp,
        code: 'request_invalid' | 'json_invalid' = 'request_invalid',
      ) => assertProblem(await queue.post('messages', { body: '{', headers: { ...good, ...headers } }), code, detail)

      await refusal({ 'ce-specversion': '2.0' }, /^ce-specversion must be "1\.0", got "2\.0"$/)
      await refusal({ 'ce-source': '' }, /^ce-source must be a URI reference/)
      await refusal({ 'ce-my_extension': 'x' }, /^ce-my_extension must be named with/)
      await refusal({ 'ce-subject': '%FF' }, /^ce-subject must be percent-encoded UTF-8, got "%FF"$/)
      await refusal({}, /must be JSON/, 'json_invalid')
      const { 'ce-specversion': _, ...without } = good
      assertProblem(
        await queue.post('messages', { body: '1', headers: without }),
        'request_invalid',
        /^ce-specversion must be "1\.0", got nothing$/,
      )
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'the trace of a request goes with each of its messages, unless that names its own',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { traceparent: trace, tracestate: 'a=1,b=2' }
      const own = { traceparent: otherTrace }
      await queue.post('messages', { body: { messages: [{ body: 1 }, { body: 2, headers: { x: 'y' } }] }, headers })
      await queue.post('messages', { body: { body: 3, headers: own }, headers })
      await queue.post('messages', { body: 'raw', contentType: 'text/plain', headers })
      await sent(post(queue, small, structured, headers))
      await sent(post(queue, { ...small, id: 'b', ...own }, structured, headers))

      const messages = await queue.receive({ max: 10 })

      const traces = messages.map(({ headers: { traceparent, tracestate } }) => [traceparent, tracestate])
      const request = [trace, 'a=1,b=2']
      assert.deepEqual(traces, [request, request, [otherTrace, undefined], request, request, [otherTrace, undefined]])
      assert.equal(messages[1]?.headers['x'], 'y')
    },
  },
  {
    claim: 'an event is received with the trace of the request that sent it as its attribute',
    async run(target) {
      const queue = await newQueue(target)
      await sent(post(queue, small, structured, { traceparent: trace }))

      assert.deepEqual((await receiveBatch(queue)).map(withoutLease), [{ ...small, traceparent: trace }])
    },
  },
  {
    claim: 'a traceparent that is none is ignored, and so is a message that has no room for one',
    async run(target) {
      const queue = await newQueue(target)
      const wrong = [
        trace.toUpperCase(),
        `${trace}-more`,
        trace.replace('00-', 'ff-'),
        trace.replace(/0af.*9c/, '0'.repeat(32)),
        trace.replace('b7ad6b7169203331', '0'.repeat(16)),
        trace.slice(1),
        'x',
      ]
      for (const traceparent of wrong) await queue.post('messages', { body: { body: 1 }, headers: { traceparent } })
      const long = 'x'.repeat(16_370)
      await queue.post('messages', { body: { body: 1, headers: { long } }, headers: { traceparent: trace } })

      const messages = await queue.receive({ max: 10 })

      assert.deepEqual(
        messages.map(({ headers }) => headers),
        [...wrong.map(() => ({})), { long }],
      )
    },
  },
  {
    claim:
      'no message is refused because the trace of its request was added: that leaves room for what is kept beside it',
    async run(target) {
      const [queue, exchange] = [await newQueue(target), await newExchange(target)]
      await exchange.bind({ queue: queue.name, routingKey: 'ü'.repeat(255) })
      const fields = { correlationId: '\u0001'.repeat(255), replyTo: '€'.repeat(255), routingKey: 'ü'.repeat(255) }
      const headers = { traceparent: trace, tracestate: `a=${'x'.repeat(500)}` }
      const most = 16_384 - 3050

      for (let length = most - 1000; length < most; length += 90) {
        const message = { body: 1, ...fields, headers: { a: 'x'.repeat(length), b: '' } }
        const answer = await exchange.post({ body: message, headers })
        assert.equal(answer.status, 201, answer.text)
      }
      await sent(queue.post('messages', { body: { body: 1, headers: { a: 'x'.repeat(15_710), b: '' } }, headers }))
    },
  },
]
