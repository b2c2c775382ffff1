/* Whom an attempt trusts: against real listeners with certificates of every kind. Run against every transport that can be told whom to
 * trust. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { TlsOptions } from 'node:tls'
import { errorOf, type Outcome } from '../../src/webhooks/outcome.ts'
import { type Authority, createAuthority } from '../runtimes/certificates.ts'
import { until } from '../support/until.ts'
import { type NameServer, startNameServer } from './name-server.ts'
import { answering, type Receiver, startReceiver } from './receiver.ts'
import type { Target, TargetOptions } from './target.ts'

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

export function secureSuite(name: string, start: (options: TargetOptions) => Promise<Target>): void {
  describe(`${name}: over TLS`, () => {
    let names: NameServer
    let authority: Authority
    let target: Target
    before(async () => {
      // This must not make a difference. (The programs in other runtimes get it, too.)
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
      authority = await createAuthority()
      names = await startNameServer({ 'receiver.test': [['127.0.0.1']] })
      target = await start({ nameServer: names.address, ca: authority.ca })
    })
    after(async () => {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      await target.stop()
      await names.stop()
    })

    const call = ({ port }: Receiver): Promise<Outcome> => {
      const url = `https://receiver.test:${port}/`
      const policy = { allowPrivate: true, allowHttp: false }
      return target.attempt({ url, headers: {}, body: '{}', timeoutMillis: 30_000, policy })
    }
    const attempt = async (options?: TlsOptions): Promise<[Outcome, Receiver]> => {
      const receiver = await startReceiver(answering(ok), options)
      const outcome = await call(receiver)
      await receiver.stop()
      return [outcome, receiver]
    }
    const assertRefused = async (options?: TlsOptions) => {
      const [outcome, receiver] = await attempt(options)
      assert.equal(errorOf(outcome), 'tls', JSON.stringify(outcome))
      assert.doesNotMatch(receiver.received.join(''), /POST/)
    }

    test('a receiver with a good certificate is called in its own name', async () => {
      const [outcome, { names, received }] = await attempt(await authority.certify('receiver.test'))

      assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome))
      assert.deepEqual(names, ['receiver.test'])
      assert.match(received[0] ?? '', /\r\nhost: receiver\.test:\d+\r\n/i)
    })

    test('a connection is used again, and replaced if it was closed when the request came', async (t) => {
      let requests = 0
      const receiver = await startReceiver(
        (socket) => socket.on('data', () => (++requests === 3 ? socket.end() : socket.write(ok))),
        await authority.certify('receiver.test'),
      )
      t.after(() => receiver.stop())
      const isResent: boolean[] = []

      for (let at = 0; at < 3; at++) {
        const outcome = await call(receiver)
        assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome))
        isResent.push(outcome.isResent)
        await until('the connection to be free', async () => (await target.sockets?.())?.busy === 0 || undefined)
      }

      assert.deepEqual(isResent, [false, false, true])
      assert.deepEqual(
        receiver.received.map((text) => text.match(/POST/g)?.length),
        [3, 1],
      )
    })

    test('nothing is sent to one whose certificate has expired', async () => {
      await assertRefused(await authority.certify('receiver.test', new Date(Date.now() - 60_000)))
    })

    test('nothing is sent to one with the certificate of another name', async () => {
      await assertRefused(await authority.certify('other.test'))
    })

    test('nothing is sent to one whom nobody known has certified', async () => {
      const stranger = await createAuthority()
      await assertRefused(await stranger.certify('receiver.test'))
    })

    test('nothing is sent to one who speaks TLS 1.1 at most', async () => {
      const old: TlsOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
      await assertRefused({ ...(await authority.certify('receiver.test')), ...old })
    })

    test('nothing is sent to one who speaks no TLS', () => assertRefused())
  })
}
