/* Where requests go: the path of the url, /v1, and names, whatever they are. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { NodeServer } from '../../functions/node.ts'
import { createEndpointClient } from '../../src/client/endpoints.ts'
import { createClient } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'

let server: NodeServer
before(async () => {
  server = await startOpenServer((await createDatabase()).url)
})
after(() => server?.stop())

/** Names that a path cannot hold: a URL takes them for steps in it. */
const steps = ['', '.', '..']

const base = fc.record({
  origin: fc.constantFrom('http://127.0.0.1:8787', 'https://postbag.example', 'http://[::1]:1', 'HTTPS://Example.com'),
  path: fc.array(
    fc.constantFrom('functions', 'v1', 'a%20b', 'ä', '%2F', '@me', 'x:y', 'a;b=c', '...').map((part) => `/${part}`),
    { maxLength: 3 },
  ),
  slashes: fc.constantFrom('', '/', '//'),
})
const name = fc.string({ unit: 'grapheme' }).filter((text) => !steps.includes(text))

/** What each way to a name asks for, as a URL. */
async function asked(url: string, made: string): Promise<readonly URL[]> {
  const seen: URL[] = []
  const fetch = (to: string) => {
    seen.push(new URL(to))
    return Response.json({ messages: [], bindings: [], queues: [] })
  }
  const options = { url, fetch, retries: 0 }
  const postbag = createClient(options)
  await postbag.queue(made).info()
  await postbag.queue(made).peek({ type: made, headers: { [made]: made } })
  await postbag.queue('a').get(made)
  await postbag.queue('a').fetchReply(made)
  await postbag.exchange(made).info()
  await postbag.exchange(made).bindings({ direction: 'to' }).next()
  await postbag.policy(made).info()
  await postbag.queues({ prefix: made }).next()
  await createEndpointClient(options).endpoint(made).info()
  return seen
}

test('a name is one part of the path, whatever is in it, below the path of the url', async () => {
  await fc.assert(
    fc.asyncProperty(base, name, async ({ origin, path, slashes }, made) => {
      const at = new URL(origin + path.join(''))
      const under = at.pathname.replace(/\/$/, '')

      const urls = await asked(origin + path.join('') + slashes, made)

      const parts = urls.map(({ pathname }) => pathname.slice(under.length).split('/').slice(1).map(decodeURIComponent))
      assert.deepEqual(parts, [
        ['v1', 'queues', made],
        ['v1', 'queues', made, 'messages'],
        ['v1', 'queues', 'a', 'messages', made],
        ['v1', 'queues', 'a', 'replies', made],
        ['v1', 'exchanges', made],
        ['v1', 'exchanges', made, 'bindings'],
        ['v1', 'policies', made],
        ['v1', 'queues'],
        ['v1', 'endpoints', made],
      ])
      assert.ok(urls.every(({ origin, pathname, hash }) => origin === at.origin && pathname.startsWith(under) && !hash))
      assert.equal(urls[1]?.searchParams.get('type'), made)
      assert.equal(urls[1]?.searchParams.get('header'), `${made}:${made}`)
      assert.equal(urls[5]?.search, '?direction=to')
      assert.equal(urls[7]?.searchParams.get('prefix'), made)
    }),
  )
})

describe('a url', () => {
  for (const [url, why] of [
    ['http://postbag.example/?region=eu', 'a query'],
    ['http://postbag.example/base#part', 'a fragment'],
    ['http://me:secret@postbag.example', 'a password, which fetch refuses'],
    ['http://postbag.example/ ', 'a space'],
    ['http://postbag.example\n', 'the end of a line'],
    ['https:///v1', 'no host'],
    ['postbag.example', 'no scheme'],
    ['/postbag', 'no host and no scheme'],
    ['', 'nothing'],
  ] as const) {
    test(`with ${why} is refused, before anything is asked`, () => {
      assert.throws(() => createClient({ url }), {
        code: 'request_invalid',
        message: /^url must be http\(s\):\/\/host\/path, got /,
      })
    })
  }
})

test('names that a URL takes for steps reach the server as what they are: no names', async () => {
  const postbag = createClient({ url: server.url })
  await postbag.queue('stats').create() // where GET /v1/queues/./stats leads

  for (const step of steps) {
    for (const call of [
      () => postbag.queue(step).create(),
      () => postbag.queue(step).delete(),
      () => postbag.queue(step).stats(),
      () => postbag.queue('stats').get(step),
      () => postbag.queue('stats').fetchReply(step),
      () => postbag.exchange(step).unbind({ queue: 'a' }),
      () => postbag.policy(step).delete(),
      () => createEndpointClient({ url: server.url }).endpoint(step).delete(),
    ]) {
      const refused = { code: 'request_invalid', message: new RegExp(`, got "${step.replaceAll('.', '\\.')} "$`) }
      await assert.rejects(call, refused, `${call} of "${step}"`)
    }
  }
})
