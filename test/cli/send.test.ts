/* postbag send with one body: from the command line or from a file, with everything that can be said of a message. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createClient, type Queue } from '../../src/client/index.ts'
import { createPlace, type Outcome, postbag } from './command.ts'

const folder = mkdtempSync(join(tmpdir(), 'postbag-send-'))
let queue: Queue
let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  const place = await createPlace()
  queue = createClient(place).queue('orders')
  await queue.create({ maxPriority: 9 })
  run = (...args) => postbag(args, { env: place.env })
})

after(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

/** The message that was sent last, taken out of the queue. */
async function taken() {
  const [message] = await queue.receive()
  assert.ok(message, 'there is no message')
  await message.ack()
  return message
}

describe('the body', () => {
  test('is JSON if it is JSON, and what was sent is said', async () => {
    const { code, stdout } = await run('send', 'orders', '{"id": 1}')

    assert.equal(code, 0)
    const message = await taken()
    assert.equal(stdout, `Sent message ${message.id} to orders, as JSON.\n`)
    assert.deepEqual([message.encoding, message.body], ['json', { id: 1 }])
  })

  test('is text if it is not', async () => {
    const { stdout } = await run('send', 'orders', 'Hello World! 😀')

    assert.match(stdout, /, as text\.\n$/)
    assert.deepEqual((({ encoding, body }) => [encoding, body])(await taken()), ['text', 'Hello World! 😀'])
  })

  test('is text with --text, whatever it looks like', async () => {
    await run('send', 'orders', '{"id": 1', '--text')
    assert.equal((await taken()).body, '{"id": 1')

    await run('send', 'orders', '42', '--text')
    assert.equal((await taken()).body, '42')
  })

  test('that is JSON by the look of it only is refused', async () => {
    const { code, stderr } = await run('send', 'orders', '{"id": 1')

    assert.equal(code, 65)
    assert.match(stderr, /^error: the body begins like JSON, but is none .*--text/)
    assert.equal((await queue.stats()).ready, 0)
  })

  test('may begin with a dash', async () => {
    await run('send', 'orders', '--', '-1')

    assert.equal((await taken()).body, -1)
  })

  test('may be a file: JSON, text or bytes', async () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 256)

    await run('send', 'orders', '--file', file('a.json', '{"n":\n  1}\n'))
    assert.deepEqual((await taken()).body, { n: 1 })
    await run('send', 'orders', '--file', file('a.txt', 'Dear all,\n\nhello\n'))
    assert.equal((await taken()).body, 'Dear all,\n\nhello\n')
    await run('send', 'orders', '--file', file('a.bin', bytes))
    assert.deepEqual((await taken()).body, bytes)
    await run('send', 'orders', '--text', '--file', file('b.txt', '[a] note'))
    assert.equal((await taken()).body, '[a] note')
  })

  test('is at most 1 MiB, whether argument or file', async () => {
    const most = await run('send', 'orders', '--file', file('most', Buffer.alloc(1_048_576, 'x')))
    const tooMuch = await run('send', 'orders', '--file', file('more', Buffer.alloc(1_048_577, 'x')))

    assert.equal(most.code, 0, most.stderr)
    assert.equal((await taken()).body, 'x'.repeat(1_048_576))
    assert.equal(tooMuch.code, 65)
    assert.match(tooMuch.stderr, /1048577 bytes, and a message at most 1048576/)
  })

  test('of a file that is not there is an error', async () => {
    const { code, stderr } = await run('send', 'orders', '--file', join(folder, 'absent'))

    assert.equal(code, 1)
    assert.match(stderr, /^error: ENOENT/)
  })
})

describe('what is said of the message', () => {
  test('arrives with it', async () => {
    const options = ['--type', 'order.created', '--content-type', 'application/x', '--priority', '5', '--delay', '0']

    await run('send', 'orders', '1', ...options, '--header', 'a=1', '--header', 'b=x=y')

    const { type, contentType, priority, headers } = await taken()
    assert.deepEqual(
      { type, contentType, priority, headers },
      { type: 'order.created', contentType: 'application/x', priority: 5, headers: { a: '1', b: 'x=y' } },
    )
  })

  test('may be when it is to be received', async () => {
    await run('send', 'orders', 'later', '--delay', '1h')

    assert.deepEqual(await queue.receive(), [])
    assert.equal((await queue.stats()).delayed, 1)
    await queue.purge()
  })

  test('may be the time at which it is to be received', async () => {
    const at = new Date(Date.now() + 3_600_000).toISOString()

    const { stdout } = await run('send', 'orders', 'later', '--at', at, '--json')

    const message = await queue.get(JSON.parse(stdout).id)
    assert.deepEqual([message.state, message.availableAt], ['delayed', at])
    await queue.purge()
  })

  test('may be its group and its end', async () => {
    await run('send', 'orders', '1', '--group', 'customer-7', '--ttl', '1h')

    const { group, sentAt, expiresAt } = await taken()
    assert.equal(group, 'customer-7')
    assert.equal(Date.parse(expiresAt ?? '') - Date.parse(sentAt), 3_600_000)
  })

  test('is checked by the server', async () => {
    const { code, stderr } = await run('send', 'orders', '1', '--priority', '10')

    assert.equal(code, 1)
    assert.match(stderr, /priority must be between 0 and 9, got 10 \(request_invalid\)/)
  })
})

describe('a dedup id', () => {
  test('sends a message once', async () => {
    const first = await run('send', 'orders', '1', '--dedup-id', 'once', '--json')
    const second = await run('send', 'orders', '1', '--dedup-id', 'once', '--json')
    const third = await run('send', 'orders', '1', '--dedup-id', 'once')

    const { id } = JSON.parse(first.stdout)
    assert.deepEqual(JSON.parse(first.stdout), { id, duplicate: false })
    assert.deepEqual(JSON.parse(second.stdout), { id, duplicate: true })
    assert.equal(third.stdout, `Sent nothing: message ${id} had this dedup id.\n`)
    assert.deepEqual([second.code, third.code], [0, 0])
    await queue.purge()
  })
})

describe('wrong usage', () => {
  for (const args of [
    ['1', '--lines'],
    ['1', '--file', 'x'],
    ['--text'],
    ['--dedup-id', 'x'],
    ['1', '--header', 'nameless'],
    ['1', '--at', 'tomorrow'],
    ['1', '--at', '2026-12-24T08:00Z', '--delay', '5'],
  ]) {
    test(`is refused: postbag send orders ${args.join(' ')}`, async () => {
      const { code, stderr } = await run('send', 'orders', ...args)

      assert.equal(code, 2)
      assert.match(stderr, /^error: /)
      assert.equal((await queue.stats()).ready, 0)
    })
  }
})
