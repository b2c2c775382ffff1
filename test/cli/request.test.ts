/* postbag request and reply: what they send, print, and how they end. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { createClient, type Queue } from '../../src/client/index.ts'
import { createPlace, jsonLines, type Outcome, type Place, postbag, start } from './command.ts'

let place: Place
let run: (...args: readonly string[]) => Promise<Outcome>
let made = 0

before(async () => {
  place = await createPlace()
  run = (...args) => postbag(args, { env: place.env })
})

async function newQueue(): Promise<Queue> {
  const queue = createClient(place).queue(`asked-${++made}`)
  await queue.create()
  return queue
}

test('request prints what was replied, byte for byte, and reply acks what it replies to', async () => {
  const queue = await newQueue()
  const asking = start(['request', queue.name, '{"n": 1.0}', '--type', 'sum', '--wait', '20s'], { env: place.env })
  const received = await run('receive', queue.name, '--wait', '20')
  const [message] = jsonLines<{ replyTo: string; receipt: string; type: string }>(received.stdout)
  assert.ok(message)

  const replied = await run('reply', queue.name, message.replyTo, '[1.00,  2]', '--receipt', message.receipt)

  const asked = await asking.ended
  assert.deepEqual([asked.code, asked.stdout], [0, '[1.00,  2]\n'])
  assert.deepEqual([replied.code, replied.stdout], [0, 'Replied.\n'])
  assert.equal(message.type, 'sum')
  assert.deepEqual((await queue.peek()).messages, [])
})

test('without a reply in time it ends with 3 and says how to fetch it, which works', async () => {
  const queue = await newQueue()

  const early = await run('request', queue.name, 'hello', '--wait', '100ms')

  assert.deepEqual([early.code, early.stdout], [3, ''])
  const [, id = ''] = /no reply yet: fetch it with "postbag request asked-\d+ --id (\S+)"/.exec(early.stderr) ?? []
  const [message] = await queue.receive()
  await message?.reply(new Uint8Array([0, 1]), { type: 'bytes' })
  const late = await run('request', queue.name, '--id', id)
  const shown = await run('request', queue.name, '--id', id, '--json')
  assert.deepEqual([late.code, late.bytes], [0, Buffer.from([0, 1, 10])])
  const [{ id: shownId, body, type, encoding } = assert.fail(shown.stderr)] = jsonLines(shown.stdout)
  assert.deepEqual([shownId, body, type, encoding], [id, 'AAE=', 'bytes', 'base64'])
})

test('interrupted in its first wait, it ends with 130 and says how to ask the same again, which works', async () => {
  const queue = await newQueue()
  const asking = start(['request', queue.name, 'hello', '--wait', '20s'], { env: place.env })
  const [message] = await queue.receive({ waitSeconds: 20 })

  asking.child.kill('SIGINT')

  const { code, stdout, stderr } = await asking.ended
  assert.deepEqual([code, stdout], [130, ''])
  const [, dedupId = ''] =
    /^error: interrupted\nThe request may have been sent: give it again with --dedup-id (\S+),.*\n$/.exec(stderr) ?? []
  await message?.reply('hello yourself')
  const again = await run('request', queue.name, 'hello', '--dedup-id', dedupId)
  assert.deepEqual([again.code, again.stdout], [0, '"hello yourself"\n'])
  assert.deepEqual((await queue.peek()).messages, [])
})

test('interrupted when its id is known, it says how to fetch the reply', async (t) => {
  const asked = Promise.withResolvers<void>()
  const url = await answering(t, () => asked.resolve())
  const asking = start(['request', 'x', 'hello', '--wait', '5m', '--url', url])
  await asked.promise

  asking.child.kill('SIGINT')

  const { code, stdout, stderr } = await asking.ended
  assert.deepEqual([code, stdout], [130, ''])
  assert.equal(stderr, 'error: interrupted\nNo reply yet: fetch it with "postbag request x --id 17.0"\n')
})

/** Where something answers a request with 202, and what asks for its reply as the test says. */
async function answering(t: TestContext, get: RequestListener): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === 'GET') return get(request, response)
    notYet(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close().closeAllConnections())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const notYet = (response: ServerResponse) =>
  response.writeHead(202, { 'content-type': 'application/json' }).end('{"id":"17.0","messageId":"17"}')

test('when the server goes away, and the id is known, it says how to fetch the reply', async (t) => {
  const url = await answering(t, (request) => request.socket.resetAndDestroy())

  const { code, stderr } = await postbag(['request', 'x', 'hello', '--wait', '5m', '--url', url])

  assert.equal(code, 69)
  assert.match(stderr, /For the reply, fetch it with "postbag request x --id 17\.0"\. \(network_error\)\n$/)
})

test('a server that answers at once is asked again after a pause', async (t) => {
  let asked = 0
  const url = await answering(t, (_, response) => {
    asked++
    notYet(response)
  })

  const { code } = await postbag(['request', 'x', 'hello', '--wait', '2s', '--url', url])

  assert.equal(code, 3)
  assert.ok(asked < 100, `${asked} requests`)
})

test('a reply that nobody awaits, or that was given before, is said to be so', async () => {
  const queue = await newQueue()
  await run('send', queue.name, '1', '--reply-to', `~1.1.${'0'.repeat(32)}`, '--correlation-id', 'c-1')
  const [message] = await queue.receive()
  assert.equal(message?.correlationId, 'c-1')

  const replied = await run('reply', queue.name, message?.replyTo ?? '', 'hello')

  assert.deepEqual([replied.code, replied.stderr], [1, 'error: the reply was not taken (reply_not_found)\n'])
  const asJson = await run('reply', queue.name, message?.replyTo ?? '', 'hello', '--json')
  assert.deepEqual(jsonLines(asJson.stdout), [{ outcome: 'reply_not_found' }])
  assert.deepEqual([asJson.code, asJson.stderr], [replied.code, replied.stderr])
})

test('wrong usage is refused', async () => {
  assert.match((await run('request', 'q')).stderr, /give one of a body, --file and --id/)
  assert.match((await run('request', 'q', '1', '--id', '2')).stderr, /give one of a body, --file and --id/)
  assert.match((await run('reply', 'q', '~')).stderr, /give a body or --file/)
  assert.equal((await run('reply', 'q', '~', '{broken')).code, 65)
})
