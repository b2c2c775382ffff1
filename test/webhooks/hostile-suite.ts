/* Runs the hostile receivers against one transport, and shows after each that no connection is in use any more. */
import { after, before, describe, test } from 'node:test'
import { until } from '../support/until.ts'
import { hostileBodies } from './hostile-bodies.ts'
import { hostileHeads } from './hostile-heads.ts'
import { startReceiver } from './receiver.ts'
import type { Target } from './target.ts'

const permissive = { allowPrivate: true, allowHttp: true }

export function hostileSuite(name: string, start: () => Promise<Target>, kind: 'sockets' | 'fetch' = 'sockets'): void {
  describe(`${name}: a receiver that`, () => {
    let target: Target
    before(async () => {
      target = await start()
    })
    after(() => target.stop())

    for (const { name, behave, isSecure = false, body = '{}', ...rest } of [...hostileHeads, ...hostileBodies]) {
      const isFetch = kind === 'fetch'
      const timeoutMillis = (isFetch && rest.fetchMillis) || rest.timeoutMillis
      const expect = (isFetch && rest.expectOfFetch) || rest.expect

      test(name, async (t) => {
        const receiver = await startReceiver(behave)
        t.after(() => receiver.stop())

        const outcome = await target.attempt({
          url: `${isSecure ? 'https' : 'http'}://127.0.0.1:${receiver.port}/hook`,
          headers: { 'content-type': 'application/json' },
          body,
          timeoutMillis,
          policy: permissive,
        })

        expect(outcome, receiver)
        if (target.sockets)
          await until('no socket to be busy', async () => (await target.sockets?.())?.busy === 0 || undefined)
      })
    }
  })
}
