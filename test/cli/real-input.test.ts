/* Real input through real processes: what is piped into "postbag send" comes out of "postbag receive" byte for byte, whatever it is,
 * and also when a consumer is killed on the way. */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { type Running, start } from './command.ts'
import { binaryLine, eventLine } from './events.ts'

const lineFeed = Buffer.from('\n')
let url: string
let env: Record<string, string>

before(async () => {
  const database = await createDatabase()
  const server = start(['dev', '--port', '0'], { env: { DATABASE_URL: database.url } })
  const [, listening = ''] = await server.said(/^Postbag listens on (\S+)$/m)
  url = listening
  env = { POSTBAG_URL: url }
})

function* events(count: number): Generator<Uint8Array> {
  for (let number = 0; number < count; number++) yield Buffer.from(eventLine(number))
}

/** Pipe lines into a command. */
function pipe(lines: Iterable<Uint8Array>, into: Running): void {
  assert.ok(into.child.stdin)
  Readable.from(withLineFeeds(lines)).pipe(into.child.stdin)
}

function* withLineFeeds(lines: Iterable<Uint8Array>): Generator<Uint8Array> {
  let block: Uint8Array[] = []
  for (const line of lines) {
    block.push(line, lineFeed)
    if (block.length >= 200) {
      yield Buffer.concat(block)
      block = []
    }
  }
  yield Buffer.concat(block)
}

/** Call for every line that a command writes. What stands behind the last line feed of a killed one is no line. */
function onLines({ child }: Running, handle: (line: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  child.stdout?.on('data', (chunk: Buffer) => {
    const text = Buffer.concat([rest, chunk])
    let start = 0
    for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, start)) {
      handle(text.subarray(start, end))
      start = end + 1
    }
    rest = text.subarray(start)
  })
}

/** Resolves when a queue has no message any more: none ready, and none that a killed consumer had leased. */
async function emptied(name: string): Promise<void> {
  const queue = createClient({ url }).queue(name)
  for (let left = 1; left > 0; ) {
    const { ready, leased, delayed } = await queue.stats()
    left = ready + leased + delayed
    if (left > 0) await sleep(50)
  }
}

describe('25,000 events', () => {
  test('sent by one process and received by four, one of which is killed, arrive byte for byte', async (t) => {
    const total = 25_000
    await createClient({ url }).queue('events').create({ leaseSeconds: 10 })
    const arrived = new Set<number>()
    let different = 0
    let repeated = 0
    const complete = Promise.withResolvers<void>()
    const check = (line: Buffer) => {
      const number = Number(/^\{"event":(\d+),/.exec(line.toString('latin1', 0, 30))?.[1])
      if (!line.equals(Buffer.from(eventLine(number)))) different++
      else if (arrived.has(number)) repeated++
      else if (arrived.add(number).size === total) complete.resolve()
    }
    const consumers = [1, 2, 3, 4].map(() => start(['receive', 'events', '--follow', '--ack', '--body'], { env }))
    for (const consumer of consumers) onLines(consumer, check)
    const [doomed, ...survivors] = consumers as [Running, ...Running[]]
    let written = 0
    onLines(doomed, () => {
      if (++written === 1500) doomed.child.kill('SIGKILL')
    })

    const started = performance.now()
    const sending = start(['send', 'events', '--json'], { env })
    pipe(events(total), sending)
    const sent = await sending.ended
    const sentAfter = performance.now() - started
    await complete.promise
    const receivedAfter = performance.now() - started
    await emptied('events')
    for (const survivor of survivors) survivor.child.kill('SIGINT')
    const outcomes = await Promise.all(survivors.map(({ ended }) => ended))

    assert.deepEqual([sent.code, sent.stdout, sent.stderr], [0, `{"sent":${total}}\n`, ''])
    assert.equal(different, 0)
    assert.equal((await doomed.ended).signal, 'SIGKILL')
    // What it had written and not acked, and what it had leased meanwhile: two batches at most.
    assert.ok(repeated <= 200, `${repeated} repeated`)
    for (const { code, stderr } of outcomes) assert.deepEqual([code, stderr], [0, ''])
    t.diagnostic(
      `sent after ${Math.round(sentAfter)} ms, received after ${Math.round(receivedAfter)} ms, ${repeated} twice`,
    )
  })
})

describe('lines of any bytes', () => {
  test('arrive byte for byte, in their order', async () => {
    const lines = Array.from({ length: 5000 }, (_, number) =>
      number % 2 === 0 ? Buffer.from(binaryLine(number)) : Buffer.from(eventLine(number)),
    )
    await createClient({ url }).queue('lines').create()
    const consumer = start(['receive', 'lines', '--follow', '--ack', '--body'], { env })
    const received: Buffer[] = []
    const complete = Promise.withResolvers<void>()
    onLines(consumer, (line) => {
      if (received.push(line) === lines.length) complete.resolve()
    })

    const sending = start(['send', 'lines', '--lines', '--json'], { env })
    pipe(lines, sending)
    const sent = await sending.ended
    await complete.promise
    await emptied('lines')
    consumer.child.kill('SIGINT')

    assert.equal(sent.stdout, `{"sent":${lines.length}}\n`, sent.stderr)
    assert.equal((await consumer.ended).code, 0)
    assert.ok(Buffer.concat(received).equals(Buffer.concat(lines)))
    assert.deepEqual(
      received.map(({ length }) => length),
      lines.map(({ length }) => length),
    )
  })
})
