/* postbag receive, once: what it writes, what it leases, what it acks, and how it ends. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, describe, type TestContext, test } from 'node:test'
import { createClient, type Queue } from '../../src/client/index.ts'
import { createPlace, jsonLines, type Outcome, type Place, postbag, start } from './command.ts'

let place: Place
let run: (...args: readonly string[]) => Promise<Outcome>
let made = 0

before(async () => {
  place = await createPlace()
  run = (...args) => postbag(args, { env: place.env })
})

async function queueWith(...bodies: readonly unknown[]): Promise<Queue> {
  const queue = createClient(place).queue(`received-${++made}`)
  await queue.create()
  await queue.sendBatch(bodies.map((body) => ({ body })))
  return queue
}

/** The address of a server that listens until the test ends. */
async function listen(t: TestContext, server: Server): Promise<string> {
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.after(() => server.close().closeAllConnections())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('messages', () => {
  test('are lines of JSON: one, or up to --max', async () => {
    const queue = await queueWith(1, 2, 3)

    const one = await run('receive', queue.name)
    const rest = await run('receive', queue.name, '--max', '10', '--json')

    const [message, ...others] = jsonLines(one.stdout)
    assert.deepEqual(others, [])
    assert.deepEqual(Object.keys(message ?? {}).sort(), [
      'attempts',
      'body',
      'encoding',
      'firstReceivedAt',
      'headers',
      'id',
      'leasedUntil',
      'priority',
      'receipt',
      'sentAt',
    ])
    assert.deepEqual(
      jsonLines(rest.stdout).map(({ body }) => body),
      [2, 3],
    )
  })

  test('have JSON bodies as they were sent, on one line', async () => {
    const queue = await queueWith()
    const text = '{\n  "n": 1.0,\n  "big": 12345678901234567890\n}'
    await run('send', queue.name, text)

    const asMessage = await run('receive', queue.name, '--lease', '0')
    const asBody = await run('receive', queue.name, '--body')

    assert.match(asMessage.stdout, /,"body":\{ {3}"n": 1\.0, {3}"big": 12345678901234567890 \}\}\n$/)
    assert.equal(asBody.stdout, `${text}\n`)
  })

  test('are leased for --lease, or as long as the queue says', async () => {
    const queue = await queueWith(1, 2)
    const leaseOf = ({ stdout }: Outcome) => {
      const { leasedUntil, firstReceivedAt } = JSON.parse(stdout)
      return (Date.parse(leasedUntil) - Date.parse(firstReceivedAt)) / 1000
    }

    assert.equal(leaseOf(await run('receive', queue.name, '--lease', '2h')), 7200)
    assert.equal(leaseOf(await run('receive', queue.name)), 30)
    assert.equal((await queue.stats()).leased, 2)
  })

  test('are gone with --ack', async () => {
    const queue = await queueWith(1, 2, 3)

    const { code } = await run('receive', queue.name, '--max', '2', '--ack')

    assert.equal(code, 0)
    const { ready, leased } = await queue.stats()
    assert.deepEqual([ready, leased], [1, 0])
  })
})

describe('with --auto-ack, messages', () => {
  test('are gone when they are handed out', async () => {
    const queue = await queueWith(1, 2, 3)

    const { code, stdout } = await run('receive', queue.name, '--max', '2', '--auto-ack')

    assert.equal(code, 0)
    assert.deepEqual(
      jsonLines(stdout).map(({ body }) => body),
      [1, 2],
    )
    assert.deepEqual(
      (await queue.peek()).messages.map(({ body, state }) => [body, state]),
      [[3, 'ready']],
    )
  })

  test('are gone also if nobody reads them', async () => {
    const queue = await queueWith('x'.repeat(100_000))
    const receiving = start(['receive', queue.name, '--auto-ack'], { env: place.env })
    receiving.child.stdout?.destroy()

    const { code, stderr } = await receiving.ended

    assert.deepEqual([code, stderr], [141, ''])
    assert.deepEqual((await queue.peek()).messages, [])
  })
})

describe('an empty queue', () => {
  test('is told by exit code 3 and no output', async () => {
    const queue = await queueWith()

    const { code, stdout, stderr } = await run('receive', queue.name)

    assert.deepEqual([code, stdout, stderr], [3, '', ''])
  })

  test('is waited at with --wait', async () => {
    const queue = await queueWith()
    const receiving = start(['receive', queue.name, '--wait', '5m', '--ack'], { env: place.env })

    await queue.send('at last')

    const { code, stdout } = await receiving.ended
    assert.equal(code, 0)
    assert.equal(JSON.parse(stdout).body, 'at last')
  })

  test('is asked again, and not at once, if the server does not wait as long as it should', async (t) => {
    const waits: number[] = []
    const hasty = createServer(async (request, response) => {
      let text = ''
      for await (const chunk of request) text += chunk
      waits.push(JSON.parse(text).waitSeconds)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"messages":[]}')
    })
    const { code } = await postbag(['receive', 'x', '--wait', '1500ms', '--url', await listen(t, hasty)])

    assert.equal(code, 3)
    assert.ok(waits.length >= 2 && waits.length <= 4, `${waits.length} requests`)
    assert.ok((waits[0] ?? 0) > 1 && (waits[1] ?? 1) < 1, `waits of ${waits}`)
  })

  test('can be left with Ctrl-C', async (t) => {
    const asked = Promise.withResolvers<void>()
    const silent = createServer(() => asked.resolve())
    const receiving = start(['receive', 'x', '--wait', '5m', '--url', await listen(t, silent)])
    await asked.promise

    receiving.child.kill('SIGINT')

    const { code, stdout, stderr } = await receiving.ended
    assert.deepEqual([code, stdout, stderr], [130, '', ''])
  })
})

test('what nobody reads is given back, not acked, at once, and without having used an attempt', async () => {
  const queue = await queueWith('x'.repeat(100_000), 'y'.repeat(100_000))
  await queue.create({ retryDelaySeconds: 3600, maxAttempts: 1 })
  const receiving = start(['receive', queue.name, '--max', '2', '--ack', '--lease', '1h'], { env: place.env })
  receiving.child.stdout?.destroy()

  const { code, stderr } = await receiving.ended

  assert.equal(code, 141)
  assert.equal(stderr, '')
  assert.deepEqual(
    (await queue.peek()).messages.map(({ state, attempts }) => [state, attempts]),
    Array(2).fill(['ready', 0]),
  )
})

describe('what the server refuses', () => {
  for (const [problem, args, sentence] of [
    ['too many at once', ['--max', '1001'], /max must be between 1 and 1000, got 1001 \(request_invalid\)/],
    ['none at all', ['--max', '0'], /max must be between 1 and 1000, got 0/],
    ['a lease out of range', ['--lease', '13h'], /leaseSeconds must be between 0 and 43200, got 46800/],
  ] as const) {
    test(`is ${problem}`, async () => {
      const queue = await queueWith(1)

      const { code, stdout, stderr } = await run('receive', queue.name, ...args)

      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, sentence)
    })
  }
})
