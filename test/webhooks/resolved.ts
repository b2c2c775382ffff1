/* What names lead to: a name server says of them what an attacker would, and a listener on this machine must see nothing. Run against
 * every transport that resolves names itself. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { errorOf, type Outcome } from '../../src/webhooks/outcome.ts'
import { type NameServer, startNameServer, type Zone } from './name-server.ts'
import { answering, type Receiver, startReceiver } from './receiver.ts'
import type { Target, TargetOptions } from './target.ts'

/** In the space of public addresses, but given to nobody, so that no network leads there. */
const nowhere = '2e00::1'

const zone: Zone = {
  'own.test': [['127.0.0.1']],
  'mapped.test': [['::ffff:127.0.0.1']],
  'six.test': [['::1', 'fc00::1']],
  'many.test': [
    ['10.0.0.1', '172.16.0.1', '192.168.0.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '224.0.0.1', '127.0.0.1'],
  ],
  'mixed.test': [['127.0.0.1', nowhere]],
  'rebinding.test': [[nowhere], ['127.0.0.1']],
  'metadata.test': [
    ['169.254.169.254', '168.63.129.16', '100.100.100.200', 'fd00:ec2::254', 'fd20:ce::254', 'fe80::1'],
  ],
  'nothing.test': [[]],
  'silent.test': ['silent'],
  'silent-six.test': [['127.0.0.1', 'silent AAAA']],
  'silent-four.test': [['::1', 'silent A']],
  'silent-then-private.test': [['10.0.0.1', 'silent AAAA']],
  'receiver.test': [['127.0.0.1']],
  'second.test': [['127.0.0.2', '127.0.0.1']],
}

const strict = { allowPrivate: false, allowHttp: true }
const permissive = { allowPrivate: true, allowHttp: true }

export function resolvedSuite(name: string, start: (options: TargetOptions) => Promise<Target>): void {
  describe(`${name}: a name`, () => {
    let names: NameServer
    let receiver: Receiver
    let target: Target
    before(async () => {
      names = await startNameServer(zone)
      receiver = await startReceiver(answering('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))
      target = await start({ nameServer: names.address })
    })
    after(async () => {
      await target.stop()
      await receiver.stop()
      await names.stop()
    })

    const attempt = (host: string, policy = strict, timeoutMillis = 30_000): Promise<Outcome> => {
      const url = `http://${host}:${receiver.port}/a%20b?c=d`
      return target.attempt({ url, headers: {}, body: '{"id":1}', timeoutMillis, policy })
    }
    /** Whatever becomes of the attempt, the listener sees none of it. */
    const unseen = async (host: string, policy = strict, timeoutMillis?: number) => {
      const before = receiver.connections
      const outcome = await attempt(host, policy, timeoutMillis)
      assert.equal(receiver.connections, before)
      return String(errorOf(outcome))
    }

    for (const host of ['own.test', 'mapped.test', 'six.test', 'many.test']) {
      test(`that is ${zone[host]} is refused`, async () => {
        assert.equal(await unseen(host), 'refused_address')
      })
    }

    test('that is the metadata of a cloud is refused, even where private addresses are allowed', async () => {
      assert.equal(await unseen('metadata.test', permissive), 'refused_address')
    })

    test('that has public and private addresses is called on the public ones only', async () => {
      assert.match(await unseen('mixed.test', strict, 200), /^(connection|timeout)$/)
    })

    test('that becomes a private address once it was checked is not asked for again', async () => {
      assert.match(await unseen('rebinding.test', strict, 200), /^(connection|timeout)$/)
      assert.deepEqual(names.questions.filter((question) => question === 'rebinding.test AAAA').length, 1)

      assert.equal(await unseen('rebinding.test'), 'refused_address')
    })

    test('that is allowed is called at the address that it had, in its own name', async () => {
      const outcome = await attempt('receiver.test', permissive)

      assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome))
      const request = receiver.received.join('')
      assert.match(request, /^POST \/a%20b\?c=d HTTP\/1\.1\r\n/)
      assert.match(request, new RegExp(`\r\nhost: receiver\\.test:${receiver.port}\r\n`, 'i'))
      assert.match(request, /\r\naccept-encoding: identity\r\n/i)
      assert.match(request, /\r\ncontent-length: 8\r\n/i)
      assert.match(request, /\r\n\r\n\{"id":1\}$/)
    })

    test('is called at its second address if the first takes no connection', async () => {
      assert.equal(errorOf(await attempt('second.test', permissive, 3000)), undefined)
    })

    test('that does not exist, or has no address, is an error of its own', async () => {
      assert.equal(errorOf(await attempt('missing.test')), 'dns')
      assert.equal(errorOf(await attempt('nothing.test')), 'dns')
    })

    // (Nobody listens at the second.)
    for (const [host, error] of [
      ['silent-six.test', undefined],
      ['silent-four.test', 'connection'],
    ] as const) {
      test(`of which only ${zone[host]?.[0]?.[0]} is told is called there soon`, async () => {
        const outcome = await attempt(host, permissive)

        assert.equal(errorOf(outcome), error, JSON.stringify(outcome))
        assert.ok(outcome.millis < 1900, JSON.stringify(outcome))
      })
    }

    test('of which only a private address is told is refused', async () => {
      assert.equal(await unseen('silent-then-private.test'), 'refused_address')
    })

    test('whose name server is silent costs no more than the time of the attempt', async () => {
      assert.equal(errorOf(await attempt('silent.test', strict, 60)), 'timeout')
    })
  })
}
