/* The Node server's own duties: who is let in without a secret, and stopping; the rest is in test/conformance/. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type NodeServer, startServer } from '../../functions/node.ts'
import type { Log } from '../../src/app.ts'
import { serverConfig } from '../../src/config.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const secret = 'a secret of thirty-two characters'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
})

test('a DATABASE_URL that is no address is refused, and not shown', () => {
  assert.throws(() => serverConfig({ DATABASE_URL: 'secret@host' }), {
    message: /^DATABASE_URL must be an address .*postgres:\/\/$/,
  })
})

describe('without a secret', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.com']) {
    test(`the configuration refuses to listen on ${host}`, () => {
      assert.throws(() => serverConfig({ HOST: host }), /POSTBAG_SECRET is not set: anybody could use the queues/)
      assert.equal(serverConfig({ HOST: host, POSTBAG_SECRET: secret }).access.kind, 'token')
    })
  }

  test('so does the server, for who configures it in code', async (t) => {
    const started = startServer({ access: { kind: 'open' }, databaseUrl: database.url, host: '0.0.0.0', port: 0 })
    t.after(() => started.then((server) => server.stop()).catch(() => {}))

    await assert.rejects(started, /POSTBAG_SECRET/)
  })

  test('a secret that is too short is refused, not taken for none', () => {
    assert.throws(() => serverConfig({ POSTBAG_SECRET: 'short' }), /at least 32 characters, got 5/)
  })

  test('this machine is served, and no other name or web site', async (t) => {
    const server = await start(t, { kind: 'open' })
    const { port } = new URL(server.url)

    const served: Record<string, string>[] = [
      { host: `127.0.0.1:${port}` },
      { host: `localhost:${port}` },
      { host: `[::1]:${port}` },
      { host: `localhost:${port}`, origin: 'http://localhost:3000' },
      { host: `localhost:${port}`, origin: 'http://localhost:3000', 'sec-fetch-site': 'same-site' },
      { host: `localhost:${port}`, origin: 'http://localhost:3000', 'sec-fetch-site': 'cross-site' },
      { host: `localhost:${port}`, 'sec-fetch-site': 'same-origin' },
      { host: `localhost:${port}`, 'sec-fetch-site': 'none' },
    ]
    const refused: Record<string, string>[] = [
      { host: `rebound.example.com:${port}` },
      { host: `127.0.0.1.example.com:${port}` },
      { host: `localhost.example.com:${port}` },
      { host: `localhost:${port}`, origin: 'https://example.com' },
      { host: `localhost:${port}`, origin: 'https://localhost.example.com' },
      { host: `localhost:${port}`, origin: 'null' },
      { host: `localhost:${port}`, origin: 'file://' },
      { host: `localhost:${port}`, 'sec-fetch-site': 'cross-site' },
      { host: `localhost:${port}`, 'sec-fetch-site': 'same-site' },
      { host: `rebound.example.com:${port}`, 'sec-fetch-site': 'same-origin' },
    ]
    for (const headers of served) assert.equal(await statusOf(server, headers), 200, JSON.stringify(headers))
    for (const headers of refused) assert.equal(await statusOf(server, headers), 401, JSON.stringify(headers))
  })
})

describe('a server', () => {
  test('whose port is taken says so', async (t) => {
    const server = await start(t, { kind: 'token', secret })
    const port = Number(new URL(server.url).port)

    await assert.rejects(startOn(port), { code: 'EADDRINUSE' })
  })

  test('lets sends that arrive together share transactions, unless told otherwise', async (t) => {
    const transactions = async (coalesce: boolean) => {
      const server = await start(t, { kind: 'open' }, { coalesce })
      const queue = `${server.url}/v1/queues/shares-${coalesce}`
      await fetch(queue, { method: 'PUT' })
      const sent = await Promise.all(
        Array.from({ length: 100 }, () => fetch(`${queue}/messages`, { method: 'POST', body: 'x' })),
      )
      for (const { status } of sent) assert.equal(status, 201)
      const { rows } = await database.pool.query(
        `select count(distinct message.xmin::text)::integer as count
        from postbag.message join postbag.queue using (queue_id) where name = $1`,
        [`shares-${coalesce}`],
      )
      return rows[0].count
    }

    assert.equal(await transactions(false), 100)
    assert.ok((await transactions(true)) < 100)
  })

  for (const [how, head] of [
    ['a body of known length', 'content-length: 100\r\n\r\n{"messages"'],
    ['a body in chunks', 'transfer-encoding: chunked\r\n\r\nb\r\n{"messages"\r\n'],
  ] as const) {
    for (const type of ['application/json', 'text/plain']) {
      test(`takes it for no fault of its own that a client leaves within ${how}, ${type}`, async (t) => {
        const logged = Promise.withResolvers<Parameters<Log>[0]>()
        // (Not all that is logged is a request.)
        const log: Log = (line) => line['status'] && logged.resolve(line)
        const server = await start(t, { kind: 'open' }, { log })
        const socket = connect(Number(new URL(server.url).port), '127.0.0.1')

        socket.write(`POST /v1/queues/leaves/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: ${type}\r\n${head}`)
        await sleep(100)
        socket.destroy()

        const { level, status, error } = await logged.promise
        assert.deepEqual({ level, status, error }, { level: 'info', status: 400, error: 'request_invalid' })
      })
    }
  }

  test('prints nothing when the reader of a stream goes away', async (t) => {
    const printed = t.mock.method(console, 'error', () => {})
    const ended = Promise.withResolvers<Parameters<Log>[0]>()
    const log: Log = (line) => String(line['path']).endsWith('/stream') && ended.resolve(line)
    const server = await start(t, { kind: 'open' }, { log })
    const queue = `${server.url}/v1/queues/leaves-stream`
    await fetch(queue, { method: 'PUT' })
    const leaving = new AbortController()
    const { body } = await fetch(`${queue}/stream`, { signal: leaving.signal })
    const reader = body?.getReader()
    await reader?.read()

    leaving.abort()

    await assert.rejects(async () => reader?.read(), { name: 'AbortError' })
    assert.equal((await ended.promise)['level'], 'info')
    await sleep(100)
    assert.deepEqual(
      printed.mock.calls.map((call) => String(call.arguments[0])),
      [],
    )
  })

  test('that stops answers those who wait, at once, and takes no more', async () => {
    const server = await startOn(0)
    await fetch(`${server.url}/v1/queues/stops`, { method: 'PUT' })
    const waiting = fetch(`${server.url}/v1/queues/stops/receive`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"waitSeconds":20}',
    })
    await sleep(300)
    const started = performance.now()

    await server.stop()

    assert.ok(performance.now() - started < 10_000)
    assert.deepEqual(await (await waiting).json(), { messages: [] })
    await assert.rejects(fetch(`${server.url}/healthz`))
  })

  for (const [what, sent] of [
    ['nothing', ''],
    ['half a head', 'GET /healthz HTTP/1.1\r\nhost: 127'],
    [
      'half a body',
      'PUT /v1/queues/half HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n',
    ],
  ] as const) {
    test(`that stops does not wait for ever for a client that has sent ${what}`, async () => {
      const server = await startOn(0, 100)
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
      const closed = once(socket.resume(), 'close')
      await once(socket, 'connect')
      socket.write(sent)
      // Its request is being answered when the server has asked for the body; to others, it has answered a later one.
      if (what === 'half a body') await once(socket, 'data')
      else await fetch(`${server.url}/healthz`)

      await server.stop()

      await closed
    })
  }

  test('that stops ends its streams at once, and does not wait for a client that does not read', async () => {
    const server = await startOn(0)
    const queue = `${server.url}/v1/queues/streams`
    for (const name of [queue, `${queue}-unread`]) await fetch(name, { method: 'PUT' })
    const idle = await fetch(`${queue}/stream`)
    const whole = idle.text()
    // More than what lies between the two holds.
    for (let sent = 0; sent < 24; sent++) {
      await fetch(`${queue}-unread/messages`, { method: 'POST', body: 'x'.repeat(700_000) })
    }
    const unread = httpRequest(`${queue}-unread/stream?max=24`).end()
    unread.on('error', () => {})
    const [response] = (await once(unread, 'response')) as [IncomingMessage]
    response.on('error', () => {})
    await sleep(300)
    const started = performance.now()

    const stopped = server.stop()

    assert.equal(await whole, 'retry: 1000\n\n')
    assert.ok(performance.now() - started < 10_000)
    await stopped
    assert.ok(performance.now() - started < 12_000)
    const { rows } = await database.pool.query(
      `select count(*) filter (where state = 'ready')::integer as ready from postbag.search('streams-unread', 100)`,
    )
    assert.ok(rows[0].ready > 0, 'what was not written is given back')
    response.destroy()
  })
})

function startOn(port: number, finishMillis?: number): Promise<NodeServer> {
  const options = {
    access: { kind: 'open' },
    databaseUrl: database.url,
    host: '127.0.0.1',
    port,
    log: () => {},
  } as const
  return startServer(options, finishMillis)
}

async function start(
  t: { after(work: () => Promise<void>): void },
  access: Parameters<typeof startServer>[0]['access'],
  options: { readonly coalesce?: boolean; readonly log?: Log } = {},
): Promise<NodeServer> {
  const server = await startServer({
    access,
    databaseUrl: database.url,
    host: '127.0.0.1',
    port: 0,
    log: () => {},
    ...options,
  })
  t.after(() => server.stop())
  return server
}

/** fetch would not let us say another Host. */
async function statusOf(server: NodeServer, headers: Readonly<Record<string, string>>): Promise<number | undefined> {
  const request = httpRequest(`${server.url}/v1/queues`, { headers }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  return response.statusCode
}
