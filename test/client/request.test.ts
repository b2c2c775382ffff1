/* request and reply in the client, over a real server: who asks gets what was replied, once, whatever gets lost on the way. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createClient, type Message, type Queue, QueueError, type StandardSchema } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'

const database = await createDatabase()
const server = await startOpenServer(database.url)
after(() => server.stop())
const client = createClient({ url: server.url })
let made = 0

async function newQueue(from = client): Promise<Queue> {
  const queue = from.queue(`asked-${++made}`)
  await queue.create()
  return queue
}

async function received(queue: Queue): Promise<Message> {
  const [message] = await queue.receive({ waitSeconds: 20 })
  assert.ok(message)
  return message
}

/** A client to whom the answers get lost to the first request whose address ends so. */
function losing(end: string) {
  let lost = 0
  const from = createClient({
    url: server.url,
    fetch: async (url, init) => {
      const answer = await fetch(url, init)
      if (lost > 0 || !url.endsWith(end)) return answer
      lost++
      await answer.text()
      throw new TypeError('the answer got lost')
    },
  })
  return { from, lost: () => lost }
}

for (const body of [{ price: 12 }, 'text', new Uint8Array([0, 255])]) {
  test(`a consumer replies, and who asked gets it: ${JSON.stringify(body)}`, async () => {
    const queue = await newQueue()
    const stop = new AbortController()
    const consuming = queue.consume({ signal: stop.signal }, async (message) => {
      assert.equal(message.body, 'how much?')
      await message.reply(body, { type: 'answer', headers: { a: 'b' }, ...(body === 'text' && { encoding: 'text' }) })
      stop.abort()
    })

    const reply = await queue.request('how much?', { type: 'question' })
    await consuming

    assert.deepEqual([reply.body, reply.type, reply.headers], [body, 'answer', { a: 'b' }])
    assert.deepEqual((await queue.peek()).messages, [])
    assert.deepEqual(await queue.fetchReply(reply.id), reply)
  })
}

test('a late reply is fetched by the id that the error holds', async () => {
  const queue = await newQueue()

  const error = await queue.request(1, { timeoutSeconds: 0.2 }).catch((error: unknown) => error)

  assert.ok(error instanceof QueueError && error.code === 'reply_overdue')
  const { id } = error.cause as { id: string }
  assert.equal(await queue.fetchReply(id), undefined)
  const waiting = queue.fetchReply(id, { timeoutSeconds: 20 })
  await queue.reply(await received(queue), 2)
  assert.equal((await waiting)?.body, 2)
})

test('a request can be sent without waiting, and its reply fetched by another client', async () => {
  const { from, lost } = losing('/request')
  const queue = await newQueue(from)

  const { id, messageId } = await queue.sendRequest('report', { type: 'question', keepSeconds: 60 })

  const message = await received(queue)
  assert.deepEqual([message.id, message.body, message.type], [messageId, 'report', 'question'])
  await message.reply('written')
  assert.equal((await createClient({ url: server.url }).queue(queue.name).fetchReply(id))?.body, 'written')
  assert.equal(lost(), 1)
  assert.deepEqual((await queue.peek()).messages, [])
})

test('a wait goes on over as many requests as it takes', async () => {
  const paths: string[] = []
  const short = createClient({
    url: server.url,
    // A platform that cuts waits short.
    fetch: (url, { body, ...init }) => {
      paths.push(url.replace(/^.*\/asked-\d+\/(\w+).*$/, '$1'))
      const cut = typeof body === 'string' ? body.replace(/"waitSeconds":\d+/, '"waitSeconds":0') : null
      return fetch(url.replace(/waitSeconds=.*$/, 'waitSeconds=0'), { ...init, body: cut })
    },
  })
  const queue = await newQueue(short)
  const asking = queue.request(1, { timeoutSeconds: 60 })
  const message = await received(client.queue(queue.name))
  await message.reply('at last')

  assert.equal((await asking).body, 'at last')
  assert.ok(paths.filter((path) => path === 'request').length === 1)
})

/** A client whose waits the server does not keep, and that cannot reach it for so many requests once it has sent one. */
function cutOff(requests: number) {
  let left = 0
  return createClient({
    url: server.url,
    fetch: async (url, init) => {
      if (left-- > 0) throw new TypeError('away')
      if (!url.endsWith('/request')) return fetch(url, init)
      left = requests
      return fetch(url, { ...init, body: JSON.stringify({ ...JSON.parse(`${init.body}`), waitSeconds: 0 }) })
    },
  })
}

test('a server that is away after the request was sent is asked again until it is back', async () => {
  const queue = await newQueue(cutOff(6))
  const asking = queue.request(1, { timeoutSeconds: 60 })
  const message = await received(client.queue(queue.name))
  await message.reply('at last')

  assert.equal((await asking).body, 'at last')
})

test('a server that is away until the time is over is told with the id, for fetching the reply later', async () => {
  const queue = await newQueue(cutOff(Number.POSITIVE_INFINITY))

  const error = await queue.request(1, { timeoutSeconds: 1 }).catch((error: unknown) => error)

  assert.ok(error instanceof QueueError && error.code === 'network_error')
  const { id, cause } = error.cause as { id: string; cause: unknown }
  assert.equal(String(cause), 'TypeError: away')
  await (await received(client.queue(queue.name))).reply('late')
  assert.equal((await client.queue(queue.name).fetchReply(id))?.body, 'late')
})

test('a request whose answer gets lost is one request', async () => {
  const { from, lost } = losing('/request')
  const queue = await newQueue(from)
  const asking = queue.request(1)
  const message = await received(queue)
  await message.reply('once')

  assert.equal((await asking).body, 'once')
  assert.equal(lost(), 1)
  assert.deepEqual((await queue.peek()).messages, [])
})

for (const withReceipt of [true, false]) {
  test(`a reply whose answer gets lost is one reply, ${withReceipt ? 'with' : 'without'} a receipt`, async () => {
    const { from, lost } = losing('/reply')
    const [queue, answers] = [await newQueue(from), await newQueue(from)]
    await queue.send(1, { replyTo: answers.name, correlationId: 'c' })
    const asking = queue.request(2)
    const [first, second] = [await received(queue), await received(queue)]
    const asked = ({ id, receipt, replyTo = '', correlationId = 'none' }: Message) => ({
      id,
      replyTo,
      correlationId,
      ...(withReceipt && { receipt }),
    })

    await queue.reply(asked(first), 'to a queue')
    await queue.reply(asked(second), 'to who waits')

    assert.equal((await asking).body, 'to who waits')
    const replies = await answers.receive({ max: 10 })
    assert.deepEqual(
      replies.map(({ body, correlationId }) => [body, correlationId]),
      [['to a queue', 'c']],
    )
    assert.equal(lost(), 1)
  })
}

test('what a reply throws says what became of it', async () => {
  const queue = await newQueue()
  const { id } = await queue.sendRequest(1)
  const message = await received(queue)
  const { receipt: _, ack, nack, reject, extend, reply, ...asking } = message
  await queue.reply(asking, 'first')

  await assert.rejects(message.reply('second'), { code: 'already_replied' })
  await assert.rejects(message.reply('third'), { code: 'message_gone' })
  await queue.send('asks for none')
  await assert.rejects((await received(queue)).reply(1), { code: 'request_invalid', message: /must ask for a reply/ })
  assert.equal((await queue.fetchReply(id))?.body, 'first')
})

test('a handler whose reply is refused gives the message back; one that comes too late is done', async () => {
  const [queue, errors] = [await newQueue(), [] as string[]]
  await queue.send('too late', { replyTo: `~1.1.${'0'.repeat(32)}` })
  await queue.send('to nobody', { replyTo: 'no-such-queue' })
  const stop = new AbortController()

  await queue.consume(
    { signal: stop.signal, onError: (error) => errors.push((error as QueueError).code) },
    async (message) => {
      if (message.body === 'to nobody') stop.abort()
      await message.reply('lost')
    },
  )

  assert.deepEqual(errors, ['reply_not_found', 'queue_not_found'])
  const { messages } = await queue.peek()
  assert.deepEqual(
    messages.map(({ body }) => body),
    ['to nobody'],
  )
  assert.match(messages[0]?.lastError ?? '', /no-such-queue/)
})

test('a reply that its handler did not wait for, and that failed, is told', async () => {
  const [queue, errors] = [await newQueue(), [] as string[]]
  await queue.send(1, { replyTo: 'no-such-queue' })
  const stop = new AbortController()

  await queue.consume(
    { signal: stop.signal, onError: (error) => errors.push((error as QueueError).code) },
    (message) => {
      stop.abort()
      void message.reply('lost')
    },
  )

  assert.deepEqual(errors, ['queue_not_found'])
  assert.equal((await queue.peek()).messages[0]?.state, 'leased')
})

test('aborting ends the wait for a reply at once', async () => {
  const queue = await newQueue()
  const leave = new AbortController()
  const asking = queue.request(1, { signal: leave.signal, timeoutSeconds: 60 })
  await received(queue)

  leave.abort('enough')

  await assert.rejects(asking, (reason) => reason === 'enough')
})

test('a schema checks and types the reply', async () => {
  const queue = await newQueue()
  const schema: StandardSchema<unknown, number> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) => (typeof value === 'number' ? { value } : { issues: [{ message: 'no number' }] }),
    },
  }
  const [good, bad] = [queue.request(1, { schema }), queue.request(2, { schema })]
  bad.catch(() => {})
  for (let left = 2; left > 0; left--) {
    const message = await received(queue)
    await message.reply(message.body === 1 ? 42 : 'x')
  }

  const sum: number = (await good).body + 1
  assert.equal(sum, 43)
  await assert.rejects(bad, { code: 'request_invalid', message: /no number/ })
})
