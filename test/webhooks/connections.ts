/* How many connections there are, which are kept, and what is done when one that was kept turns out to be closed. Run against every
 * transport over sockets. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type Answered, errorOf, type Outcome } from '../../src/webhooks/outcome.ts'
import { until } from '../support/until.ts'
import { answering, onRequest, startReceiver } from './receiver.ts'
import type { Target, TargetOptions } from './target.ts'

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

export function connectionsSuite(name: string, start: (options: TargetOptions) => Promise<Target>): void {
  describe(`${name}: connections`, () => {
    let target: Target
    before(async () => {
      target = await start({ bounds: { maxAttempts: 3, maxAttemptsPerHost: 2, maxIdle: 2 } })
    })
    after(() => target.stop())

    const receive = async (t: TestContext, behave: (socket: Socket, number: number) => void) => {
      const receiver = await startReceiver(behave)
      t.after(() => receiver.stop())
      return receiver
    }
    const attempt = (port: number, timeoutMillis = 30_000, by = target): Promise<Outcome> => {
      const policy = { allowPrivate: true, allowHttp: true }
      return by.attempt({ url: `http://127.0.0.1:${port}/`, headers: {}, body: '{}', timeoutMillis, policy })
    }
    const deliver = async (port: number, by = target) => {
      const outcome = await attempt(port, 30_000, by)
      assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome).slice(0, 500))
      return outcome as Answered
    }
    const idle = (count: number, of = target) =>
      until(`${count} idle connections`, async () => (await of.sockets?.())?.idle === count || undefined)
    const notBusy = () => until('no socket to be busy', async () => (await target.sockets?.())?.busy === 0 || undefined)

    test('are used again', async (t) => {
      const receiver = await receive(t, answering(ok))

      for (let at = 0; at < 3; at++) {
        await deliver(receiver.port)
        await idle(1)
      }

      assert.equal(receiver.connections, 1)
    })

    for (const [bytes, connections] of [
      [60_000, 1],
      [70_000, 2],
    ] as const) {
      test(`are ${connections === 1 ? 'used again' : 'closed'} after an answer of ${bytes} bytes`, async (t) => {
        const answer = `HTTP/1.1 200 OK\r\ncontent-length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`
        const receiver = await receive(t, answering(answer))

        const { body, isCut } = await deliver(receiver.port)
        await notBusy()
        await deliver(receiver.port)

        assert.deepEqual([body.length, isCut, receiver.connections], [4096, true, connections])
      })
    }

    test('that were closed when the request came are replaced, and the outcome tells', async (t) => {
      const receiver = await receive(t, (socket, number) => {
        let requests = 0
        socket.on('data', () => {
          if (number === 0 && ++requests === 2) socket.resetAndDestroy()
          else socket.write(ok)
        })
      })
      const first = await deliver(receiver.port)
      await idle(1)

      const second = await deliver(receiver.port)

      assert.deepEqual([first.isResent, second.isResent, receiver.connections], [false, true, 2])
      assert.deepEqual(
        receiver.received.map((text) => text.match(/POST/g)?.length),
        [2, 1],
      )
    })

    test('are replaced once only', async (t) => {
      const receiver = await receive(t, (socket, number) => {
        let requests = 0
        socket.on('data', () => {
          if (number > 0 || ++requests === 2) socket.resetAndDestroy()
          else socket.write(ok)
        })
      })
      await deliver(receiver.port)
      await idle(1)

      const outcome = await attempt(receiver.port)

      assert.deepEqual([errorOf(outcome), outcome.isResent, receiver.connections], ['connection', true, 2])
    })

    test('on which an answer has begun are not replaced', async (t) => {
      const receiver = await receive(t, (socket) => {
        let requests = 0
        socket.on('data', () => {
          if (++requests === 2) socket.end('HTTP/1.1 2')
          else socket.write(ok)
        })
      })
      await deliver(receiver.port)
      await idle(1)

      const outcome = await attempt(receiver.port)

      assert.deepEqual([errorOf(outcome), outcome.isResent, receiver.connections], ['connection', false, 1])
    })

    test('are kept within a bound', async (t) => {
      const receivers = await Promise.all([1, 2, 3].map(() => receive(t, answering(ok))))

      for (const { port } of receivers) await deliver(port)
      await notBusy()

      const sockets = await target.sockets?.()
      assert.ok(sockets && sockets.idle <= 2, JSON.stringify(sockets))
    })

    test('are closed after a while', async (t) => {
      const hasty = await start({ bounds: { idleMillis: 50 } })
      t.after(() => hasty.stop())
      const receiver = await receive(t, answering(ok))

      await deliver(receiver.port, hasty)

      await until('it to be closed', async () => receiver.open === 0 || undefined)
      await idle(0, hasty)
    })

    test('go through no proxy, whatever the environment says', async (t) => {
      const receiver = await receive(t, answering(ok))
      const proxy = await receive(t, answering(ok))
      const url = `http://127.0.0.1:${proxy.port}`
      const environment = { HTTP_PROXY: url, http_proxy: url, ALL_PROXY: url, NO_PROXY: '', NODE_USE_ENV_PROXY: '1' }
      Object.assign(process.env, environment)
      const proxied = await start({})
      t.after(() => proxied.stop())
      for (const name of Object.keys(environment)) delete process.env[name]

      await deliver(receiver.port, proxied)

      assert.deepEqual([receiver.connections, proxy.connections], [1, 0])
    })

    test('to one receiver leave some for the others', async (t) => {
      const held: Socket[] = []
      const slow = await receive(
        t,
        onRequest((socket) => void held.push(socket)),
      )
      const other = await receive(t, answering(ok))
      const first = [attempt(slow.port), attempt(slow.port)]
      await until('two requests', async () => held.length === 2 || undefined)

      const third = await attempt(slow.port)
      await deliver(other.port)

      assert.equal(errorOf(third), 'busy')
      assert.equal(slow.connections, 2)
      for (const socket of held) socket.end(ok)
      assert.deepEqual((await Promise.all(first)).map(errorOf), [undefined, undefined])
      assert.equal(errorOf(await attempt(other.port)), undefined)
    })

    test('of a receiver that never answers come back', async (t) => {
      const silent = await receive(t, () => {})

      for (let at = 0; at < 5; at++) {
        const outcomes = await Promise.all([attempt(silent.port, 40), attempt(silent.port, 40)])
        assert.deepEqual(outcomes.map(errorOf), ['timeout', 'timeout'])
      }

      await notBusy()
      await until('none to be open', async () => silent.open === 0 || undefined)
    })
  })
}
