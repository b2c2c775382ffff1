/* postbag receive --follow: goes on until it is stopped, through absences of the server, and acks only what was written. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { startServer } from '../../functions/node.ts'
import { createClient, type Queue } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { createPlace, type Place, postbag, start } from './command.ts'

let place: Place
let made = 0

before(async () => {
  place = await createPlace()
})

async function createQueue(): Promise<Queue> {
  const queue = createClient(place).queue(`followed-${++made}`)
  await queue.create()
  return queue
}

describe('following', () => {
  test('writes what there is and what comes, and acks it', async () => {
    const queue = await createQueue()
    await queue.send('before')
    const following = start(['receive', queue.name, '--follow', '--ack', '--body'], { env: place.env })

    await following.said(/before/)
    await queue.send('during')
    await following.said(/during/)
    following.child.kill('SIGINT')

    const { code, stdout, stderr } = await following.ended
    assert.deepEqual([code, stdout, stderr], [0, '"before"\n"during"\n', ''])
    const { ready, leased } = await queue.stats()
    assert.deepEqual([ready, leased], [0, 0])
  })

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`ends in order with ${signal}, whatever it is doing`, async () => {
      const queue = await createQueue()
      await queue.sendBatch(Array.from({ length: 1000 }, (_, body) => ({ body })))
      const following = start(['receive', queue.name, '--follow', '--ack', '--body', '--max', '10'], { env: place.env })

      await following.said(/\n/)
      following.child.kill(signal)

      const { code, stdout } = await following.ended
      const written = stdout.trimEnd().split('\n').map(Number)
      const { ready, leased } = await queue.stats()
      assert.equal(code, 0)
      assert.deepEqual(written, [...written.keys()])
      assert.deepEqual([leased, ready], [0, 1000 - written.length], 'what was written is acked, the rest is there')
    })
  }

  test('without --ack leaves the messages leased', async () => {
    const queue = await createQueue()
    await queue.send(1)
    const following = start(['receive', queue.name, '--follow', '--lease', '1h'], { env: place.env })

    await following.said(/"body":1/)
    following.child.kill('SIGINT')
    await following.ended

    assert.equal((await queue.stats()).leased, 1)
  })

  test('ends when nobody reads any more, and gives back what it could not write', async () => {
    const queue = await createQueue()
    const following = start(['receive', queue.name, '--follow', '--ack', '--lease', '1h'], { env: place.env })
    await queue.send('read')
    await following.said(/read/)

    following.child.stdout?.destroy()
    await queue.send('unread')

    assert.equal((await following.ended).code, 141)
    const [message] = await queue.receive()
    assert.equal(message?.body, 'unread')
    assert.equal(message?.attempts, 1, 'the first time does not count')
  })

  test('ends when the queue is deleted', async () => {
    const queue = await createQueue()
    await queue.send(1)
    const following = start(['receive', queue.name, '--follow'], { env: place.env })
    await following.said(/"body":1/)

    await queue.delete()

    const { code, stderr } = await following.ended
    assert.equal(code, 1)
    assert.match(stderr, /queue_not_found/)
  })

  test('says so if the lease ended before the message was acked', async () => {
    const queue = await createQueue()
    await queue.send('x'.repeat(1_000_000))
    const following = start(['receive', queue.name, '--follow', '--ack', '--lease', '0'], { env: place.env })
    // Its output is stuck: the message does not fit into a pipe.
    following.child.stdout?.pause()
    while ((await queue.peek()).messages[0]?.attempts === 0) await new Promise(setImmediate)
    const [message] = await queue.receive()
    assert.equal(message?.attempts, 2)

    following.child.stdout?.resume()

    await following.said(/1 message could not be acked \(lease_lost\).*--lease/)
    following.child.kill('SIGINT')
    assert.equal((await following.ended).code, 0)
  })
})

describe('a server that is away', () => {
  test('for a while is waited for, with a word about it', async (t) => {
    const { url: databaseUrl } = await createDatabase()
    const options = { access: { kind: 'open' }, host: '127.0.0.1', databaseUrl, log: () => {} } as const
    const first = await startServer({ ...options, port: 0 })
    const queue = createClient(first).queue('orders')
    await queue.create()
    await queue.send('before')
    const following = start(['receive', 'orders', '--follow', '--ack', '--body'], { env: { POSTBAG_URL: first.url } })
    await following.said(/before/)

    await first.stop()
    await following.said(/ECONNREFUSED.*trying again/)
    const second = await startServer({ ...options, port: Number(new URL(first.url).port) })
    t.after(() => second.stop())
    await queue.send('after')
    await following.said(/after/)
    following.child.kill('SIGINT')

    const { code, stderr } = await following.ended
    assert.equal(code, 0)
    assert.match(stderr, /It is back\./)
    assert.equal((await queue.stats()).ready, 0)
  })

  test('can be given up with Ctrl-C', async () => {
    const { url: databaseUrl } = await createDatabase()
    const options = { access: { kind: 'open' }, host: '127.0.0.1', databaseUrl, log: () => {} } as const
    const server = await startServer({ ...options, port: 0 })
    const queue = createClient(server).queue('orders')
    await queue.create()
    await queue.send(1)
    const following = start(['receive', 'orders', '--follow'], { env: { POSTBAG_URL: server.url } })
    await following.said(/"body":1/)

    await server.stop()
    await following.said(/trying again/)
    following.child.kill('SIGINT')

    assert.equal((await following.ended).code, 0)
  })

  test('from the beginning is given up soon', async () => {
    const { code, stderr } = await postbag(['receive', 'x', '--follow', '--url', 'http://127.0.0.1:9999'])

    assert.equal(code, 69)
    assert.match(stderr, /ECONNREFUSED/)
  })
})
