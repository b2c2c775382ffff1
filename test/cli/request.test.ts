/* postbag request and reply: what they send, print, and how they end. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
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

test('a reply that nobody awaits, or that was given before, is said to be so', async () => {
  const queue = await newQueue()
  await run('send', queue.name, '1', '--reply-to', `~1.1.${'0'.repeat(32)}`, '--correlation-id', 'c-1')
  const [message] = await queue.receive()
  assert.equal(message?.correlationId, 'c-1')

  const replied = await run('reply', queue.name, message?.replyTo ?? '', 'hello')

  assert.deepEqual([replied.code, replied.stderr], [1, 'error: the reply was not taken (reply_not_found)\n'])
  const asJson = await run('reply', queue.name, message?.replyTo ?? '', 'hello', '--json')
  assert.deepEqual(jsonLines(asJson.stdout), [{ outcome: 'reply_not_found' }])
})

test('wrong usage is refused', async () => {
  assert.match((await run('request', 'q')).stderr, /give one of a body, --file and --id/)
  assert.match((await run('request', 'q', '1', '--id', '2')).stderr, /give one of a body, --file and --id/)
  assert.match((await run('reply', 'q', '~')).stderr, /give a body or --file/)
  assert.equal((await run('reply', 'q', '~', '{broken')).code, 65)
})
