/* What every attempt does, whatever comes: it ends when it is told to, and never rejects. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { strictPolicy } from '../../src/webhooks/check-url.ts'
import { createTransport } from '../../src/webhooks/node/transport.ts'
import { type AttemptRequest, attemptErrors, errorOf } from '../../src/webhooks/outcome.ts'
import { until } from '../support/until.ts'
import { onRequest, startReceiver } from './receiver.ts'

const policy = { allowPrivate: true, allowHttp: true }
const request: AttemptRequest = { url: '', headers: {}, body: '{}', timeoutMillis: 30_000, policy }

describe('an attempt', () => {
  test('ends at once when it is stopped, and its connection with it', async (t) => {
    const stop = new AbortController()
    const receiver = await startReceiver(onRequest(() => stop.abort()))
    t.after(() => receiver.stop())
    const { attempt, sockets } = createTransport()

    const outcome = await attempt({ ...request, url: `http://127.0.0.1:${receiver.port}/`, signal: stop.signal })

    assert.equal(errorOf(outcome), 'stopped')
    await until('no socket to be busy', async () => sockets().busy === 0 || undefined)
    assert.equal(sockets().idle, 0)
  })

  test('is not begun if it is stopped before', async (t) => {
    const receiver = await startReceiver(() => {})
    t.after(() => receiver.stop())

    const url = `http://127.0.0.1:${receiver.port}/`
    const outcome = await createTransport().attempt({ ...request, url, signal: AbortSignal.abort() })

    assert.deepEqual([errorOf(outcome), receiver.connections], ['stopped', 0])
  })

  test('with headers that must not be sent is not begun', async (t) => {
    const receiver = await startReceiver(() => {})
    t.after(() => receiver.stop())
    const { attempt } = createTransport()

    for (const headers of [{ 'x-a': 'b\r\nx-c: d' }, { host: 'inside' }, { 'transfer-encoding': 'chunked' }]) {
      const outcome = await attempt({ ...request, url: `http://127.0.0.1:${receiver.port}/`, headers })
      assert.equal(errorOf(outcome), 'refused_headers', JSON.stringify(outcome))
    }
    assert.equal(receiver.connections, 0)
  })

  test('whose resolver fails, or says what is no address, is a failure', async () => {
    const failing = createTransport({ resolve: () => Promise.reject(new Error('out of order')) })
    const empty = createTransport({ resolve: async () => [] })
    const nonsense = createTransport({ resolve: async () => ['receiver', '127.1', '2606::1%eth0'] })

    const errors = [failing, empty, nonsense].map(async ({ attempt }) =>
      errorOf(await attempt({ ...request, url: 'https://example.com/', policy: strictPolicy })),
    )

    assert.deepEqual(await Promise.all(errors), ['dns', 'dns', 'refused_address'])
  })

  test('resolves as the machine does where private addresses are allowed', async (t) => {
    const receiver = await startReceiver(onRequest((socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n')))
    t.after(() => receiver.stop())

    const outcome = await createTransport().attempt({ ...request, url: `http://localhost:${receiver.port}/` })

    assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome))
  })

  test('sends bytes as they are', async (t) => {
    const receiver = await startReceiver(onRequest((socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n')))
    t.after(() => receiver.stop())
    const body = Uint8Array.from([0, 255, 10, 13])

    await createTransport().attempt({ ...request, url: `http://127.0.0.1:${receiver.port}/`, body })

    assert.match(receiver.received[0] ?? '', /\r\ncontent-length: 4\r\n.*\r\n\r\n\0\xff\n\r$/s)
  })
})

test('every error is told of in the docs', () => {
  const page = readFileSync(new URL('../../docs/webhook-safety.md', import.meta.url), 'utf8')

  for (const error of attemptErrors) assert.ok(page.includes(`\`${error}\``), error)
})
