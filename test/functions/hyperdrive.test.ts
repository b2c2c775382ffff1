/* Hyperdrive answers from a cache what looks like a read, unless the text of the statement names a volatile function that it knows.
 * A claim answered from a cache would hand out the same messages again; so every statement names clock_timestamp(), and a Worker that
 * finds a cache refuses to work. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { neverCached } from '../../src/db/call.ts'
import { signToken } from '../../src/http/token.ts'
import { type RunningWorker, startWorker } from '../runtimes/workerd.ts'
import { type CachingProxy, startCachingProxy } from '../support/caching-proxy.ts'
import { createDatabase } from '../support/database.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))
const secret = 'a secret of thirty-two characters'
const root = fileURLToPath(new URL('../..', import.meta.url))

test('every statement of the domain folders names clock_timestamp()', () => {
  const statements = globSync('src/{queue,exchange,wakeup,webhook,schedule}/**/*.ts', { cwd: root }).flatMap((file) =>
    statementsOf(readFileSync(`${root}/${file}`, 'utf8')).map((text) => ({ file, text })),
  )

  assert.ok(statements.length >= 12, `only ${statements.length} statements were found: has their form changed?`)
  assert.deepEqual(
    statements.filter(({ text }) => !text.replace(/\$\{neverCached\}/, neverCached).includes('clock_timestamp()')),
    [],
  )
})

/** The texts in backticks that name something in the schema postbag. */
function statementsOf(source: string): readonly string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
  return [...code.matchAll(/`([^`]*)`/g)].map(([, text = '']) => text).filter((text) => /\bpostbag\.\w/.test(text))
}

describe('a Worker behind a cache', () => {
  let proxy: CachingProxy
  let running: RunningWorker
  before(async () => {
    proxy = await startCachingProxy((await createDatabase()).url)
    running = await startWorker(entry, proxy.url, { vars: { POSTBAG_SECRET: secret }, onLog: () => {} })
  })
  after(async () => {
    await running.stop()
    await proxy.stop()
  })

  const listQueues = async () => {
    const authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`
    const answer = await fetch(`${running.url}/v1/queues`, { headers: { authorization } })
    return { status: answer.status, text: await answer.text() }
  }
  const asked = () => proxy.statements.filter((text) => text.includes('pg_stat_activity')).length

  test('refuses to work, says what to switch off, and runs nothing', async () => {
    for (let times = 0; times < 3; times++) {
      const { status, text } = await listQueues()

      assert.equal(status, 500)
      assert.match(
        text,
        /answers reads from a cache\. For Hyperdrive: npx wrangler hyperdrive update .* --caching-disabled/,
      )
    }
    const ready = await fetch(`${running.url}/readyz`)
    assert.equal(ready.status, 503)
    assert.match(await ready.text(), /answers reads from a cache/)
    assert.deepEqual(
      proxy.statements.filter((text) => text.includes('postbag')),
      [],
    )
  })

  test('works once it caches no more, and then asks nothing that it would not without', async () => {
    proxy.caches = false

    assert.equal((await listQueues()).status, 200)

    const before = asked()
    await Promise.all(Array.from({ length: 5 }, listQueues))
    assert.equal(asked(), before)
  })
})
