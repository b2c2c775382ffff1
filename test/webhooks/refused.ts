/* URLs that have a server call its own machine or network, each against a listener there that must see nothing. Run against every
 * transport. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { errorOf } from '../../src/webhooks/outcome.ts'
import { answering, type Receiver, startReceiver } from './receiver.ts'
import type { Target } from './target.ts'

/** All of 127.0.0.1, or what a careless parser takes for it. */
const notations = [
  '127.0.0.1',
  '127.0.0.1.',
  '127.1',
  '127.0.1',
  '127.000.000.001',
  '0177.0.0.1',
  '0x7f.0.0.1',
  '0x7f.1',
  '0x7f000001',
  '2130706433',
  '017700000001',
  '%31%32%37.0.0.1',
  '127%2e0%2e0%2e1',
  '１２７.0.0.1',
  '127。0。0。1',
  '①②⑦.⓪.⓪.①',
  '0',
  '0.0.0.0',
  '127.255.255.254',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[0:0:0:0:0:FFFF:7F00:0001]',
  '[::127.0.0.1]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  '[2001:0:7f00:1::]',
  '[2a00:1450::5efe:127.0.0.1]',
  '[::1%lo]',
  '[::1%25lo]',
  '[fe80::1%25lo]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'ｌｏｃａｌｈｏｓｔ',
  'loc%61lhost',
  'app.localhost',
  'localhost.localdomain',
  'server',
] as const

/** Where a URL seems to lead elsewhere than it does. */
const disguises = [
  (port: number) => `http://example.com@127.0.0.1:${port}/`,
  (port: number) => `http://example.com:80@127.0.0.1:${port}/`,
  (port: number) => `http://127.0.0.1:${port}\\@example.com/`,
  (port: number) => `http://127.0.0.1:${port}#@example.com/`,
  (port: number) => `http:\\\\127.0.0.1:${port}/`,
  (port: number) => `http:127.0.0.1:${port}/`,
  (port: number) => `http:///127.0.0.1:${port}/`,
  (port: number) => `\thttp://127.0.0.1:${port}/`,
  (port: number) => `http://127.0.\t0.1:${port}/`,
  (port: number) => `http://127.0.\u{ad}0.1:${port}/`,
  (port: number) => `ftp://127.0.0.1:${port}/`,
  (port: number) => `file://127.0.0.1:${port}/etc/passwd`,
  (port: number) => `//127.0.0.1:${port}/`,
] as const

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'
const strict = { allowPrivate: false, allowHttp: true }
const permissive = { allowPrivate: true, allowHttp: true }

/** What is written is enough to refuse it: for every transport. */
export function refusedSuite(name: string, start: () => Promise<Target>): void {
  describe(`${name}: nothing is sent to`, () => {
    let receiver: Receiver
    let target: Target
    before(async () => {
      receiver = await startReceiver(answering(ok))
      target = await start()
    })
    after(async () => {
      await target.stop()
      await receiver.stop()
    })

    const assertRefused = async (url: string, policy = strict) => {
      const outcome = await target.attempt({ url, headers: {}, body: '{}', timeoutMillis: 30_000, policy })
      assert.equal(errorOf(outcome), 'refused_address', JSON.stringify(outcome))
      assert.equal(receiver.connections, 0)
    }

    for (const host of notations) test(host, () => assertRefused(`http://${host}:${receiver.port}/`))
    for (const disguise of disguises) test(disguise(80), () => assertRefused(disguise(receiver.port)))

    test('the metadata of clouds, not even where private addresses are allowed', async () => {
      for (const host of ['169.254.169.254', '[fd00:ec2::254]', '168.63.129.16', '[::ffff:169.254.169.254]']) {
        await assertRefused(`http://${host}/latest/meta-data/`, permissive)
      }
    })

    test('any of these, but to the same listener if the policy allows it', async () => {
      const url = `http://127.0.0.1:${receiver.port}/`

      const outcome = await target.attempt({ url, headers: {}, body: '{}', timeoutMillis: 30_000, policy: permissive })

      assert.equal(errorOf(outcome), undefined, JSON.stringify(outcome))
      assert.equal(receiver.connections, 1)
    })
  })
}
