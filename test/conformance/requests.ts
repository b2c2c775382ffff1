/* Requests and replies over HTTP. */
import assert from 'node:assert/strict'
import type { ReplyResponse, RequestResponse } from '../../src/wire.ts'
import { assertProblem, type Case, call, json, requestOf, type Target, tokenFor } from './target.ts'
import { newQueue, queueNamed, type TestQueue } from './test-queue.ts'
import { millisOf, soonMillis } from './waits.ts'

async function request(queue: TestQueue, body: object, status = 200): Promise<RequestResponse> {
  return json<RequestResponse>(await queue.post('request', { body }), status)
}

/** Receive one request and reply to it. */
async function replyOnce(queue: TestQueue, body: object): Promise<ReplyResponse> {
  const { replyTo, receipt } = await queue.receiveOne({ waitSeconds: 20 })
  return json<ReplyResponse>(await queue.post('reply', { body: { replyTo, receipt, ...body } }))
}

function fetchReply(target: Target, queue: TestQueue, id: string, query = '?waitSeconds=0') {
  return call(target, 'GET', `${queue.path}/replies/${id}${query}`)
}

export const requestCases: readonly Case[] = [
  {
    claim: 'a request is answered with its reply, soon after that was given, and the request is done',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = request(queue, { body: { item: 'book' }, type: 'price' })

      const replied = await replyOnce(queue, { body: { price: 12 }, type: 'price.is', headers: { a: 'b' } })
      const started = performance.now()
      const { id, messageId, reply } = await waiting

      assert.ok(performance.now() - started < soonMillis)
      assert.deepEqual(replied, { outcome: 'ok' })
      assert.match(id, /^\d+\.[0-9a-f]{32}$/)
      assert.match(messageId, /^\d+$/)
      const { repliedAt, ...rest } = reply ?? assert.fail('no reply')
      assert.match(repliedAt, /^\d{4}-\d\d-\d\dT.*Z$/)
      assert.deepEqual(rest, { body: { price: 12 }, encoding: 'json', type: 'price.is', headers: { a: 'b' } })
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a request to a volatile queue is answered, too',
    async run(target) {
      const queue = await newQueue(target, { durability: 'volatile' })
      const waiting = request(queue, { body: 1 })

      await replyOnce(queue, { body: 'yes', encoding: 'text' })

      assert.equal((await waiting).reply?.body, 'yes')
    },
  },
  {
    claim: 'a request without a reply in time is answered 202, with where to fetch it: now, late, and again',
    async run(target) {
      const queue = await newQueue(target)
      const answer = await queue.post('request', { body: { body: 1, waitSeconds: 0 } })
      const pending = json<RequestResponse>(answer, 202)
      assert.deepEqual(Object.keys(pending), ['id', 'messageId'])
      const location = new URL(answer.headers.get('location') ?? '', `${target.url}${queue.path}/request`)
      assert.equal(location.href, `${target.url}${queue.path}/replies/${pending.id}`)
      assert.deepEqual(json(await fetchReply(target, queue, pending.id), 202), pending)

      const waiting = fetchReply(target, queue, pending.id, '')
      await replyOnce(queue, { body: 2 })

      const { reply, ...ids } = json<RequestResponse>(await waiting)
      assert.deepEqual([ids, reply?.body], [pending, 2])
      assert.deepEqual(json(await fetchReply(target, queue, pending.id)), { ...ids, reply })
    },
  },
  {
    claim: 'a wait for a reply ends in time',
    async run(target) {
      const queue = await newQueue(target)

      const asked = await queue.post('request', { body: { body: 1, waitSeconds: 0.3 } })
      const { id } = json<RequestResponse>(asked, 202)
      const fetched = await fetchReply(target, queue, id, '?waitSeconds=0.3')

      json(fetched, 202)
      for (const answer of [asked, fetched]) {
        const millis = await millisOf(target, answer)
        assert.ok(millis > 250 && millis < soonMillis, `${millis} ms`)
      }
    },
  },
  {
    claim: 'everybody who waits for the same reply gets it',
    async run(target) {
      const queue = await newQueue(target)
      const { id } = await request(queue, { body: 1, waitSeconds: 0 }, 202)
      const waiting = Array.from({ length: 4 }, () => fetchReply(target, queue, id, '?waitSeconds=20'))

      await replyOnce(queue, { body: 'all' })

      for (const answer of await Promise.all(waiting)) assert.equal(json<RequestResponse>(answer).reply?.body, 'all')
    },
  },
  {
    claim: 'many requests at the same time get each its own reply',
    async run(target) {
      const queue = await newQueue(target, { maxPriority: 1 })
      const asked = Array.from({ length: 20 }, (_, body) =>
        queue.post('request', {
          body: { body, priority: body % 2, ...(body % 3 === 0 && { group: `g${body}` }) },
        }),
      )
      for (let left = 20; left > 0; ) {
        const received = await queue.receive({ max: 10, waitSeconds: 20 })
        left -= received.length
        for (const { replyTo, receipt, body } of received) {
          await queue.post('reply', { body: { replyTo, receipt, body: Number(body) * 2 } })
        }
      }

      const replies = await Promise.all(
        asked.map(async (asking) => {
          const answer = await asking
          // (On a busy machine some may have waited their 20 seconds: as a client does, they fetch.)
          const { id } = json<RequestResponse>(answer, answer.status === 202 ? 202 : 200)
          return json<RequestResponse>(await fetchReply(target, queue, id)).reply?.body
        }),
      )
      assert.deepEqual(
        replies,
        Array.from({ length: 20 }, (_, body) => body * 2),
      )
    },
  },
  {
    claim: 'JSON, text and bytes go to and fro byte for byte',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = queue.post('request', { body: '{"body": {"n": 1.0, "b": 12345678901234567890}}' })
      const { messages } = json<{ messages: { replyTo: string; receipt: string }[] }>(
        await queue.post('receive', { body: { waitSeconds: 20 } }),
      )
      const [{ replyTo, receipt } = assert.fail('no message')] = messages
      await queue.post('reply', { body: `{"replyTo":"${replyTo}","receipt":"${receipt}","body": [1.00,  "x"]}` })

      assert.ok((await waiting).text.includes('"body":[1.00,  "x"]'))
      const bytes = request(queue, { body: 'AAH/', encoding: 'base64' })
      await replyOnce(queue, { body: '/wEA', encoding: 'base64' })
      const { reply } = await bytes
      assert.deepEqual([reply?.encoding, reply?.body], ['base64', '/wEA'])
    },
  },
  {
    claim: 'the first reply stays; a second is told so, and one whose lease is lost replies nothing',
    async run(target) {
      const queue = await newQueue(target)
      const { id } = await request(queue, { body: 1, waitSeconds: 0 }, 202)
      const { replyTo, receipt } = await queue.receiveOne()
      const reply = async (body: object) =>
        json<ReplyResponse>(await queue.post('reply', { body: { replyTo, ...body } })).outcome

      await queue.nack([receipt])
      const outcomes = [
        await reply({ body: 'lost', receipt }),
        await reply({ body: 'first' }),
        await reply({ body: 2 }),
      ]

      assert.deepEqual(outcomes, ['lease_lost', 'ok', 'already_replied'])
      assert.equal(json<RequestResponse>(await fetchReply(target, queue, id)).reply?.body, 'first')
      assert.deepEqual(await replyOnce(queue, { body: 3 }), { outcome: 'already_replied' })
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'nobody waits for, fetches or gives a reply whose time is over',
    async run(target) {
      const queue = await newQueue(target)
      const asked = await queue.post('request', { body: { body: 1, keepSeconds: 1, waitSeconds: 20 } })
      assertProblem(asked, 'reply_not_found')

      assert.deepEqual(await replyOnce(queue, { body: 2 }), { outcome: 'reply_not_found' })
      assertProblem(await fetchReply(target, queue, `1.${'0'.repeat(32)}`), 'reply_not_found')
    },
  },
  {
    claim: 'a reply goes to the queue that replyTo names, with its correlation id',
    async run(target) {
      const [queue, answers] = [await newQueue(target), await newQueue(target)]
      await queue.send({ body: 1, replyTo: answers.name, correlationId: 'c-1' })
      const { replyTo, correlationId, headers } = await queue.receiveOne()
      assert.deepEqual([replyTo, correlationId, headers], [answers.name, 'c-1', {}])
      const waiting = answers.receiveOne({ waitSeconds: 20 })

      await queue.post('reply', { body: { replyTo, correlationId, body: 2 } })

      const reply = await waiting
      assert.deepEqual([reply.body, reply.correlationId, reply.replyTo], [2, 'c-1', undefined])
    },
  },
  {
    claim: 'correlationId and replyTo are shown by looks, and may be given as headers and in the query of a raw send',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1, headers: { 'postbag-correlation-id': 'c', 'postbag-reply-to': 'q', a: 'b' } })
      json(
        await call(target, 'POST', `${queue.path}/messages?correlationId=c&replyTo=q`, {
          body: 'x',
          contentType: 'text/plain',
        }),
        201,
      )

      const { messages } = await queue.peek()

      assert.deepEqual(
        messages.map(({ correlationId, replyTo, headers }) => ({ correlationId, replyTo, headers })),
        [
          { correlationId: 'c', replyTo: 'q', headers: { a: 'b' } },
          { correlationId: 'c', replyTo: 'q', headers: {} },
        ],
      )
    },
  },
  {
    claim: 'a request that is sent again with its dedupId is the same request, and gets the same reply',
    async run(target) {
      const queue = await newQueue(target)
      const once = { body: 1, dedupId: 'd', waitSeconds: 0 }
      const first = await request(queue, once, 202)
      await replyOnce(queue, { body: 2 })

      const again = await request(queue, once)

      assert.deepEqual([again.id, again.reply?.body], [first.id, 2])
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'who waits for a reply of a queue that is deleted is told',
    async run(target) {
      const queue = await newQueue(target)
      const { id } = await request(queue, { body: 1, waitSeconds: 0 }, 202)
      const waiting = fetchReply(target, queue, id, '?waitSeconds=20')

      await call(target, 'DELETE', queue.path)

      assertProblem(await waiting, 'queue_not_found')
    },
  },
  {
    claim: 'asking needs the scope to send, replying the scope to receive, and to a queue that to send there',
    async run(target) {
      const [queue, answers] = [await newQueue(target), await newQueue(target)]
      const sender = await tokenFor(target, [`send:${queue.name}`])
      const receiver = await tokenFor(target, [`receive:${queue.name}`])
      const asked = await queue.post('request', { token: sender, body: { body: 1, waitSeconds: 0 } })
      const { id } = json<RequestResponse>(asked, 202)
      const { replyTo } = await queue.receiveOne()
      const [toIt, toQueue] = [replyTo, answers.name].map((replyTo) => ({ replyTo, body: 1 }))

      assertProblem(await queue.post('request', { token: receiver, body: { body: 1 } }), 'scope_missing')
      assertProblem(await queue.post('reply', { token: sender, body: toIt ?? {} }), 'scope_missing', /receive:/)
      assertProblem(await queue.post('reply', { token: receiver, body: toQueue ?? {} }), 'scope_missing', /send:/)
      json(await queue.post('reply', { token: receiver, body: toIt ?? {} }))
      const path = `${queue.path}/replies/${id}`
      assertProblem(await call(target, 'GET', path, { token: receiver }), 'scope_missing')
      json(await call(target, 'GET', path, { token: sender }))
    },
  },
  {
    claim: 'a full queue takes no request and no reply; who was to be replied to stays leased',
    async run(target) {
      const [queue, full] = [await newQueue(target), await newQueue(target, { maxMessages: 1 })]
      await request(full, { body: 1, waitSeconds: 0 }, 202)
      await queue.send({ body: 1, replyTo: full.name })
      const { replyTo, receipt } = await queue.receiveOne()

      assertProblem(await full.post('request', { body: { body: 2 } }), 'queue_full')
      assertProblem(await queue.post('reply', { body: { replyTo, receipt, body: 2 } }), 'queue_full')

      assert.deepEqual([(await queue.stats()).leased, (await full.stats()).ready], [1, 1])
    },
  },
  {
    claim: 'a client that goes away while it waits for a reply is forgotten, and its reply is kept',
    needs: 'sees clients leave',
    async run(target) {
      const queue = await newQueue(target)
      const { id } = await request(queue, { body: 1, waitSeconds: 0 }, 202)

      await target.leave(`${queue.path}/replies/${id}?waitSeconds=20`, requestOf(target, 'GET', {}), 300)
      await replyOnce(queue, { body: 'kept' })

      assert.equal(json<RequestResponse>(await fetchReply(target, queue, id)).reply?.body, 'kept')
    },
  },
  {
    claim: 'requests and replies that say what they must not are refused',
    async run(target) {
      const queue = await newQueue(target)
      const refused = async (verb: string, body: object, detail: RegExp) =>
        assertProblem(await queue.post(verb, { body }), 'request_invalid', detail)

      await refused('request', {}, /body is missing/)
      await refused('request', { body: 1, waitSeconds: 21 }, /waitSeconds must be between 0 and 20, got 21/)
      await refused('request', { body: 1, keepSeconds: 0 }, /keepSeconds must be between 1 and 604800, got 0/)
      await refused('request', { body: 1, replyTo: 'x' }, /unknown field replyTo/)
      await refused('request', { body: 1, correlationId: '' }, /correlationId must be 1 to 255 characters/)
      await refused('reply', { body: 1 }, /replyTo must be a string/)
      await refused('reply', { body: 1, replyTo: '~', priority: 1 }, /unknown field priority/)
      await refused('reply', { body: 1, replyTo: 'x'.repeat(256) }, /replyTo must be 1 to 255/)
      assertProblem(await fetchReply(target, queue, '17'), 'request_invalid', /must be the id of a reply, got "17"/)
      const none = queueNamed(target, 'no-such-queue')
      assertProblem(await none.post('request', { body: { body: 1 } }), 'queue_not_found')
      assertProblem(await none.post('reply', { body: { body: 1, replyTo: '~' } }), 'queue_not_found')
      assertProblem(await queue.post('reply', { body: { body: 1, replyTo: none.name } }), 'queue_not_found')
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
]
