/* postbag maintain: clears away what time has ended, until nothing is left to do. */
import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { createClient } from '../../src/client/index.ts'
import type { MaintainResponse } from '../../src/wire.ts'
import { createPlace, postbag, start } from './command.ts'

/** The address of a server that says so to one request after the other. */
async function listen(t: TestContext, ...replies: ((response: ServerResponse) => void)[]): Promise<string> {
  const server = createServer((_, response) => replies.shift()?.(response))
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.after(() => server.close().closeAllConnections())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const answer =
  (counts: Partial<MaintainResponse>, status = 200) =>
  (response: ServerResponse): void => {
    const nothing = { expiredMessages: 0, removedDeadLetters: 0, forgottenDedupIds: 0, removedOrphans: 0, more: false }
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ ...nothing, ...counts }))
  }

describe('postbag maintain', () => {
  test('clears away what has expired, and says so in one line', async () => {
    const { env, url } = await createPlace()
    const queue = createClient({ url }).queue('orders')
    await queue.create()
    await queue.sendBatch([{ body: 1, ttlSeconds: 0.001 }, { body: 2 }])

    const people = await postbag(['maintain'], { env })
    const machines = await postbag(['maintain', '--json'], { env })

    assert.deepEqual([people.code, people.stderr], [0, ''])
    assert.match(
      people.stdout,
      /^Cleared away 1 expired message, 0 old dead letters, \d+ dedup ids? and 0 messages of deleted queues\.\n$/,
    )
    assert.equal(JSON.parse(machines.stdout).expiredMessages, 0)
    assert.deepEqual(
      (await queue.peek()).messages.map(({ body }) => body),
      [2],
    )
  })

  test('goes on while there is more to do, and sums it up', async (t) => {
    const url = await listen(
      t,
      answer({ expiredMessages: 10_000, more: true }),
      answer({ expiredMessages: 5, removedDeadLetters: 9_995, more: true }),
      answer({ removedDeadLetters: 1, forgottenDedupIds: 2, removedOrphans: 3 }),
    )

    const { stdout } = await postbag(['maintain', '--json', '--url', url])

    assert.deepEqual(JSON.parse(stdout), {
      expiredMessages: 10_005,
      removedDeadLetters: 9_996,
      forgottenDedupIds: 2,
      removedOrphans: 3,
    })
  })

  test('that is interrupted lets the call under way end, and says what it did', async (t) => {
    let answered = 0
    const asked = Promise.withResolvers<void>()
    const reply = (response: ServerResponse) => {
      asked.resolve()
      answered++
      answer({ expiredMessages: 1000, more: true })(response)
    }
    const maintaining = start(['maintain', '--url', await listen(t, ...Array(100_000).fill(reply))])
    await asked.promise

    maintaining.child.kill('SIGINT')

    const { code, stdout, stderr } = await maintaining.ended
    const cleared = `error: interrupted\nCleared away ${(answered * 1000).toLocaleString('en-US')} expired messages, `
    assert.deepEqual([code, stdout, stderr.slice(0, cleared.length)], [130, '', cleared])
  })

  test('that fails says what it did before', async (t) => {
    const refuse = (response: ServerResponse) =>
      response
        .writeHead(403, { 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ code: 'scope_missing', detail: 'admin is needed' }))

    const late = await postbag([
      'maintain',
      '--url',
      await listen(t, answer({ removedOrphans: 1, more: true }), refuse),
    ])
    const atOnce = await postbag(['maintain', '--url', await listen(t, refuse)])

    assert.deepEqual([late.code, atOnce.code], [1, 1])
    assert.match(
      late.stderr,
      /^error: admin is needed\nCleared away 0 .*1 message of deleted queues\. \(scope_missing\)/,
    )
    assert.match(atOnce.stderr, /^error: admin is needed \(scope_missing\)/)
  })
})
