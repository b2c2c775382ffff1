/* postbag send from standard input: a message per line, byte for byte and in order, whatever the server does meanwhile. */
import assert from 'node:assert/strict'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { before, describe, test } from 'node:test'
import { startServer } from '../../functions/node.ts'
import { createClient, type Queue } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { createPlace, type Place, postbag, start } from './command.ts'
import { eventLine } from './events.ts'

let place: Place
let made = 0

before(async () => {
  place = await createPlace()
})

async function createQueue(): Promise<Queue> {
  const queue = createClient(place).queue(`stream-${++made}`)
  await queue.create()
  return queue
}

/** What is in the queue, as the bytes of the bodies, one line each. */
async function contentOf(queue: Queue): Promise<string> {
  const { bytes } = await postbag(['receive', queue.name, '--max', '1000', '--body'], { env: place.env })
  return bytes.toString('latin1')
}

const latin1 = (text: string) => Buffer.from(text).toString('latin1')

describe('NDJSON', () => {
  test('lines become JSON bodies, byte for byte and in order', async () => {
    const queue = await createQueue()
    const input = `${Array.from({ length: 500 }, (_, index) => eventLine(index)).join('\n')}\n`

    const { code, stdout } = await postbag(['send', queue.name], { env: place.env, input })

    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`^Sent 500 messages to ${queue.name} in \\d+\\.\\d s \\([\\d,]+/s\\)\\.\n$`))
    assert.equal(await contentOf(queue), latin1(input))
  })

  test('may have empty lines, Windows line ends, and no line end at its end', async () => {
    const queue = await createQueue()

    const { stdout } = await postbag(['send', queue.name, '--json'], {
      env: place.env,
      input: '\n1\r\n  \n"two"\n\r\n[3]',
    })

    assert.deepEqual(JSON.parse(stdout), { sent: 3 })
    assert.equal(await contentOf(queue), '1\n"two"\n[3]\n')
  })

  test('may be empty', async () => {
    const queue = await createQueue()

    const { code, stdout } = await postbag(['send', queue.name], { env: place.env })

    assert.equal(code, 0)
    assert.match(stdout, /^Sent 0 messages /)
  })

  test('of many batches keeps its order', async () => {
    const queue = await createQueue()
    const input = Array.from({ length: 4321 }, (_, index) => `${index}\n`).join('')

    await postbag(['send', queue.name], { env: place.env, input })

    const bodies: unknown[] = []
    for (let batch = await queue.receive({ max: 1000 }); batch.length > 0; batch = await queue.receive({ max: 1000 })) {
      bodies.push(...batch.map(({ body }) => body))
    }
    assert.deepEqual(bodies, [...Array(4321).keys()])
  })

  test('of large lines goes out in requests that the server takes', async () => {
    const queue = await createQueue()
    const large = JSON.stringify('x'.repeat(1_048_574))

    const { code, stderr } = await postbag(['send', queue.name], { env: place.env, input: `${large}\n`.repeat(20) })

    assert.equal(code, 0, stderr)
    assert.equal((await queue.stats()).ready, 20)
  })
})

describe('--lines', () => {
  test('sends every line as it is: text, nothing, and bytes that are no text', async () => {
    const queue = await createQueue()
    const input = Buffer.from('plain\n\n{"not": parsed\n  spaces \r\n\xff\xfe\0\n\0\nGr\xc3\xbc\xc3\x9fe', 'latin1')

    await postbag(['send', queue.name, '--lines'], { env: place.env, input })

    const messages = await queue.receive({ max: 10 })
    assert.deepEqual(
      messages.map(({ encoding }) => encoding),
      ['text', 'text', 'text', 'text', 'base64', 'base64', 'text'],
    )
    await queue.nack(messages.map(({ receipt }) => receipt))
    assert.equal(await contentOf(queue), `${input.toString('latin1')}\n`)
  })
})

test('what the command line says of a message is said of every line', async () => {
  const queue = await createQueue()

  await postbag(['send', queue.name, '--type', 'x', '--header', 'a=b'], { env: place.env, input: '1\n2\n' })

  for (const message of await queue.receive({ max: 10 })) {
    assert.deepEqual([message.type, message.headers], ['x', { a: 'b' }])
  }
})

test('a line is sent when it comes, not when the input ends', async () => {
  const queue = await createQueue()
  const sending = start(['send', queue.name, '--lines'], { env: place.env })

  for (const line of ['first', 'second']) {
    sending.child.stdin?.write(`${line}\n`)
    const [message] = await queue.receive({ waitSeconds: 20 })
    assert.equal(message?.body, line)
  }

  sending.child.stdin?.end()
  assert.equal((await sending.ended).code, 0)
})

describe('a bad line', () => {
  test('ends it with the number of the line, and those before it are sent', async () => {
    const queue = await createQueue()
    const input = `${'{"ok":true}\n'.repeat(1500)}\n{"ok":\n{"ok":true}\n`

    const { code, stdout, stderr } = await postbag(['send', queue.name], { env: place.env, input })

    assert.equal(code, 65)
    assert.equal(stdout, '')
    assert.match(stderr, /^error: line 1502 is not JSON .*\nSent before: 1,500 messages, up to line 1500\.\n$/)
    assert.equal((await queue.stats()).ready, 1500)
  })

  test('may be one that is no UTF-8', async () => {
    const queue = await createQueue()

    const { code, stderr } = await postbag(['send', queue.name], {
      env: place.env,
      input: Uint8Array.from([0x22, 0xff, 0x22]),
    })

    assert.equal(code, 65)
    assert.match(stderr, /^error: line 1 is not JSON.*UTF-8.*--lines.*\nNo message was sent\.\n$/)
  })

  test('may be one of more than 1 MiB', async () => {
    const queue = await createQueue()
    const input = `a\n${'b'.repeat(1_048_577)}\nc\n`

    const { code, stderr } = await postbag(['send', queue.name, '--lines'], { env: place.env, input })

    assert.equal(code, 65)
    assert.match(stderr, /line 2 must be at most 1048576 bytes\nSent before: 1 message, up to line 1\./)
  })
})

describe('what the server refuses', () => {
  test('ends it, and nothing of that batch is sent', async () => {
    const queue = await createQueue()

    const { code, stderr } = await postbag(['send', queue.name, '--priority', '3'], { env: place.env, input: '1\n2\n' })

    assert.equal(code, 1)
    assert.match(stderr, /^error: .*priority.*\nNo message was sent\. \(request_invalid\)/)
    assert.equal((await queue.stats()).ready, 0)
  })

  test('is an unknown queue, even while the input stays open', async () => {
    const sending = start(['send', 'absent'], { env: place.env })
    sending.child.stdin?.write('1\n')

    const { code, stderr } = await sending.ended

    assert.equal(code, 1)
    assert.match(stderr, /queue_not_found/)
  })
})

test('Ctrl-C ends it, says what was sent, and what was read is sent', async () => {
  const queue = await createQueue()
  const sending = start(['send', queue.name], { env: place.env })
  sending.child.stdin?.write('1\n2\n3\n')
  for (let received = 0; received < 3; ) received += (await queue.receive({ max: 3, waitSeconds: 20 })).length

  sending.child.kill('SIGINT')

  const { code, stderr } = await sending.ended
  assert.equal(code, 130)
  assert.equal(stderr, 'error: interrupted\nSent before: 3 messages, up to line 3.\n')
})

describe('a server that is away', () => {
  for (const [what, answer] of [
    ['itself', undefined],
    ['from its database', '{"code":"database_unavailable","detail":"the connection broke","status":503}'],
  ] as const) {
    test(`${what}, in the middle: nobody knows what became of the batch under way`, async (t) => {
      let asked = 0
      const first = Promise.withResolvers<void>()
      const server = createServer(async (incoming, outgoing) => {
        await text(incoming)
        if (++asked === 1) {
          outgoing.writeHead(201, { 'content-type': 'application/json' }).end('{"messages":[]}')
          first.resolve()
        } else if (answer === undefined) incoming.socket.destroy()
        else outgoing.writeHead(503, { 'content-type': 'application/problem+json' }).end(answer)
      })
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
      t.after(() => server.close())
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const sending = start(['send', 'x', '--url', url])
      sending.child.stdin?.write('1\n')
      await first.promise
      sending.child.stdin?.write('2\n')
      await sending.said(/trying again/)

      sending.child.kill('SIGINT')

      const { stderr } = await sending.ended
      assert.match(stderr, /Sent before: 1 message, up to line 1\. What became of those after it is not known\./)
    })
  }

  test('from the beginning is given up soon', async () => {
    const { code, stderr } = await postbag(['send', 'x', '--url', 'http://127.0.0.1:9999'], { input: '1\n' })

    assert.equal(code, 69)
    assert.match(stderr, /ECONNREFUSED.*\nNo message was sent\./)
  })

  test('for a while is waited for', async (t) => {
    const { url: databaseUrl } = await createDatabase()
    const options = { access: { kind: 'open' }, host: '127.0.0.1', databaseUrl, log: () => {} } as const
    const first = await startServer({ ...options, port: 0 })
    const queue = createClient(first).queue('orders')
    await queue.create()
    const sending = start(['send', 'orders'], { env: { POSTBAG_URL: first.url } })
    sending.child.stdin?.write('1\n')
    await queue.receive({ waitSeconds: 20 })

    await first.stop()
    sending.child.stdin?.end('2\n3\n')
    await sending.said(/ECONNREFUSED.*trying again/)
    const second = await startServer({ ...options, port: Number(new URL(first.url).port) })
    t.after(() => second.stop())

    const { code, stdout, stderr } = await sending.ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Sent 3 messages/)
    assert.match(stderr, /It is back\./)
    assert.equal((await queue.stats()).ready, 2)
  })

  test('when it should have answered doubles nothing', async (t) => {
    const queue = await createQueue()
    let lost = 0
    // Passes every request on, and cuts the connection instead of giving back the first two answers.
    const proxy = createServer((incoming, outgoing) => {
      const { method, headers } = incoming
      const onward = httpRequest(`${place.url}${incoming.url}`, { method, headers }, async (answer) => {
        const body = await text(answer)
        if (lost < 2) {
          lost++
          incoming.socket.destroy()
        } else outgoing.writeHead(answer.statusCode ?? 0, answer.headers).end(body)
      })
      incoming.pipe(onward)
    })
    await new Promise<void>((listening) => proxy.listen(0, '127.0.0.1', listening))
    t.after(() => proxy.close())
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`

    const { code, stderr } = await postbag(['send', queue.name, '--url', url], { input: '1\n2\n3\n' })

    assert.equal(code, 0, stderr)
    assert.equal(lost, 2)
    assert.equal(await contentOf(queue), '1\n2\n3\n')
  })
})
