/* A page in a real browser (Chromium) takes messages with EventSource, over all that ends a stream. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { startServer } from '../../functions/node.ts'
import type { Access } from '../../src/config.ts'
import { signToken } from '../../src/http/token.ts'
import { lacksChromium, type RunningBrowser, startChromium } from '../runtimes/chromium.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

const secret = 'a secret of thirty-two characters'
const withToken: Access = { kind: 'token', secret }

/** Notes what a stream brings, and acks what has a receipt. */
const html = `<!doctype html><script>
  const { queue, token, query } = Object.fromEntries(new URLSearchParams(location.search))
  const seen = [], problems = []
  let opened = 0
  const source = new EventSource(queue + '/stream?' + query + (token ? '&access_token=' + token : ''))
  source.onopen = () => opened++
  source.addEventListener('problem', ({ data }) => problems.push(JSON.parse(data).code))
  source.onmessage = async ({ data, lastEventId }) => {
    const { id, body, receipt } = JSON.parse(data)
    seen.push({ body, isSame: id === lastEventId, outcome: receipt && await ack(receipt) })
  }
  async function ack(receipt) {
    const answer = await fetch(queue + '/ack', {
      method: 'POST',
      headers: { authorization: 'Bearer ' + token, 'content-type': 'application/json' },
      body: JSON.stringify({ receipts: [receipt] }),
    })
    return (await answer.json()).results[0].outcome
  }
</script>`

interface Noted {
  readonly seen: readonly { readonly body: unknown; readonly isSame: boolean; readonly outcome: string }[]
  readonly problems: readonly string[]
  readonly opened: number
  /** EventSource's: 0 connecting, 1 open, 2 closed for good. */
  readonly state: number
}

describe('in a browser', { skip: lacksChromium ?? false }, () => {
  let running: RunningBrowser
  let database: TestDatabase
  let proxy: TcpProxy
  const pages = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html))
  before(async () => {
    database = await createDatabase()
    proxy = await startTcpProxy(database.url)
    pages.listen(0, '127.0.0.1')
    await once(pages, 'listening')
    running = await startChromium()
  })
  after(async () => {
    await running.stop()
    pages.close()
    await proxy.stop()
  })

  const start = (access: Access, port = 0) =>
    startServer({ access, databaseUrl: proxy.url, host: '127.0.0.1', port, log: () => {} })

  /** Open the page, which is of another origin than the server. */
  async function visit(queue: string, query: string, { host = '127.0.0.1', token = '' } = {}) {
    const page = await running.browser.newPage()
    const { port } = pages.address() as AddressInfo
    await page.goto(`http://${host}:${port}/?${new URLSearchParams({ queue, query, token })}`)
    const noted = () => page.evaluate<Noted>('({ seen, problems, opened, state: source.readyState })')
    return {
      noted,
      /** What it has noted when that fits. */
      notes: (what: string, fits: (noted: Noted) => boolean) =>
        until(what, async () => {
          const now = await noted()
          return fits(now) ? now : undefined
        }),
      close: () => page.close(),
    }
  }

  async function newQueue(name: string): Promise<string> {
    await database.pool.query('select postbag.create_queue($1)', [name])
    return `/v1/queues/${name}`
  }
  const send = (name: string, body: string) =>
    database.pool.query('select postbag.send($1, to_jsonb($2::text))', [name, body])
  const tokenFor = (name: string) => signToken(secret, { scopes: [`receive:${name}`], now: new Date() })

  test('a page receives messages with its token, acks them, and comes again by itself after the end of a stream', async () => {
    const server = await start(withToken)
    const path = await newQueue('pages')
    await send('pages', 'first')

    const page = await visit(`${server.url}${path}`, 'seconds=1', { token: await tokenFor('pages') })
    await page.notes('the end of the stream', ({ state, seen }) => state === 0 && seen.length === 1)
    await send('pages', 'sent meanwhile')
    await page.notes('the next stream', ({ opened, seen }) => opened >= 2 && seen.length === 2)
    await send('pages', 'as it comes')
    const { seen } = await page.notes('the third message', (noted) => noted.seen.length === 3)

    const expected = ['first', 'sent meanwhile', 'as it comes']
    assert.deepEqual(
      seen,
      expected.map((body) => ({ body, isSame: true, outcome: 'ok' })),
    )
    const { rows } = await database.pool.query('select count(*)::integer as left from postbag.message')
    assert.deepEqual(rows, [{ left: 0 }])
    await page.close()
    await server.stop()
  })

  test('a page comes again after the database was away, and after the server was stopped and another took its place', async () => {
    const server = await start(withToken)
    const path = await newQueue('outlives')
    const page = await visit(`${server.url}${path}`, 'autoAck=true', { token: await tokenFor('outlives') })
    await page.notes('the stream', ({ opened }) => opened === 1)

    await proxy.refuse()
    await page.notes('two streams that say so', ({ problems }) => problems.length === 2)
    await proxy.restore()
    await send('outlives', 'after the outage')
    const { problems } = await page.notes('the first message', ({ seen }) => seen.length === 1)
    await server.stop()
    await page.notes('that it is looking for a server', ({ state }) => state === 0)
    const other = await start(withToken, Number(new URL(server.url).port))
    await send('outlives', 'after the stop')
    const { seen } = await page.notes('the second message', (noted) => noted.seen.length === 2)

    assert.deepEqual(new Set(problems), new Set(['database_unavailable']))
    assert.deepEqual(
      seen.map(({ body }) => body),
      ['after the outage', 'after the stop'],
    )
    await page.close()
    await other.stop()
  })

  test('a page stops for good when the queue is deleted', async () => {
    const server = await start(withToken)
    const path = await newQueue('ends')
    const page = await visit(`${server.url}${path}`, '', { token: await tokenFor('ends') })
    await page.notes('the stream', ({ opened }) => opened === 1)

    await database.pool.query(`select postbag.delete_queue('ends')`)
    const { problems } = await page.notes('that it is closed', ({ state }) => state === 2)

    assert.deepEqual(problems, ['queue_not_found'])
    await page.close()
    await server.stop()
  })

  test('without tokens only a page of this machine receives', async () => {
    const server = await start({ kind: 'open' })
    const path = await newQueue('local')
    await send('local', 'for this machine')

    const stranger = await visit(`${server.url}${path}`, 'autoAck=true', { host: 'example.localhost' })
    const { opened } = await stranger.notes('that it is refused', ({ state }) => state === 2)
    const local = await visit(`${server.url}${path}`, 'autoAck=true', { host: 'localhost' })
    const { seen } = await local.notes('the message', (noted) => noted.seen.length === 1)

    assert.equal(opened, 0)
    assert.deepEqual(seen, [{ body: 'for this machine', isSame: true, outcome: '' }])
    await stranger.close()
    await local.close()
    await server.stop()
  })

  test('without tokens an image of a page elsewhere takes nothing, though it comes without an Origin', async (t) => {
    const server = await start({ kind: 'open' })
    t.after(() => server.stop())
    const path = await newQueue('pictured')
    await send('pictured', 'no picture')
    const page = await running.browser.newPage()
    await page.goto(`http://example.localhost:${(pages.address() as AddressInfo).port}/`)

    const source = JSON.stringify(`${server.url}${path}/stream?autoAck=true&seconds=1`)
    await page.evaluate(`new Promise((end) => { Object.assign(new Image(), { onerror: end, src: ${source} }) })`)

    const { rows } = await database.pool.query(`select state from postbag.search('pictured', 10)`)
    assert.deepEqual(rows, [{ state: 'ready' }])
    await page.close()
  })
})
