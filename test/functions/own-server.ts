/* The duties of a server that is a process of its own, on any runtime: who is let in without a secret, being told of messages, stopping. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { signToken } from '../../src/http/token.ts'
import type { ProgramOptions, RunningProgram } from '../runtimes/process.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/** What a server says that the database tells of messages. */
const isTold = /^listen: /

interface OwnServer {
  readonly name: string
  /** @param how its program calls startServer, if otherwise than without anything */
  start(options: ProgramOptions, how?: string): Promise<RunningProgram>
}

export function ownServerOf({ name, start }: OwnServer): void {
  describe(`a ${name} server`, () => {
    let database: TestDatabase
    before(async () => {
      database = await createDatabase()
    })

    const open = async (t: TestContext, env: Readonly<Record<string, string>> = {}, onLog = (_: string) => {}) => {
      const server = await start({ env: { DATABASE_URL: database.url, PORT: '0', ...env }, onLog })
      t.after(() => server.stop('SIGKILL'))
      return server
    }

    test('is told of messages by the database, also of those sent in SQL', async (t) => {
      const { url, startMillis } = await open(t)
      t.diagnostic(`ready after ${Math.round(startMillis)} ms`)

      const { answer } = await openReceive(url, 'told')
      await database.pool.query(`select postbag.send('told', '1')`)

      assert.equal((await messagesOf(await answer)).length, 1)
      assert.match(await wakeUp(url), isTold)
    })

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      test(`answers who waits when it gets ${signal}, at once, and ends with 0`, async (t) => {
        const server = await open(t)
        const { answer } = await openReceive(server.url, 'stops')
        const started = performance.now()

        const code = await server.stop(signal)

        assert.equal(code, 0)
        assert.ok(performance.now() - started < 10_000)
        assert.deepEqual(await messagesOf(await answer), [])
        await assert.rejects(fetch(`${server.url}/healthz`))
      })
    }

    test('that stops gives up a client that does not send the rest of its request', { timeout: 20_000 }, async (t) => {
      const env = { DATABASE_URL: database.url, PORT: '0' }
      const server = await start({ env }, 'startServer(undefined, 500)')
      t.after(() => server.stop('SIGKILL'))
      const { hostname, port, host } = new URL(server.url)
      const socket = connect(Number(port), hostname).on('error', () => {})
      t.after(() => socket.destroy())
      await once(socket, 'connect')
      socket.write(`PUT /v1/queues/half HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 9\r\n\r\n{`)
      await sleep(300)

      assert.equal(await server.stop(), 0)
    })

    test('lets a receive wait for 20 s', async (t) => {
      const { url } = await open(t)

      const started = performance.now()

      const { answer } = await openReceive(url, 'patient')

      assert.deepEqual(await messagesOf(await answer), [])
      assert.ok(performance.now() - started > 19_900)
    })

    for (const [what, part] of [
      ['that said how long it is', 'content-length: 100\r\n\r\nonly a part'],
      ['in chunks', 'transfer-encoding: chunked\r\n\r\nb\r\nonly a part\r\n'],
    ] as const) {
      test(`whose client leaves in the middle of a request ${what} takes it for refused, and nothing for wrong`, async (t) => {
        const log: string[] = []
        const { url } = await open(t, {}, (line) => log.push(line))
        const { hostname, port, host } = new URL(url)

        for (const leave of ['end', 'destroy'] as const) {
          const path = `/v1/queues/left-by-${leave}/messages`
          const socket = connect(Number(port), hostname)
          await once(socket, 'connect')
          socket.write(`POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: text/plain\r\n${part}`)
          await sleep(200)
          socket[leave]()

          const line = await until(`the line of ${path}`, async () => log.find((each) => each.includes(path)))
          const { level, status, error } = JSON.parse(line)
          assert.deepEqual({ level, status, error }, { level: 'info', status: 400, error: 'request_invalid' })
        }
      })
    }

    test('does not listen where others reach it without a secret, and not at all without a database', async () => {
      const env = { DATABASE_URL: database.url, PORT: '0' }

      await assert.rejects(start({ env: { ...env, HOST: '0.0.0.0' } }), /POSTBAG_SECRET is not set: anybody could use/)
      await assert.rejects(start({ env: { PORT: '0' } }), /DATABASE_URL is not set/)
    })

    test('ends if its port is taken', async (t) => {
      await assert.rejects(open(t, await takenPort(t)), /ended with 1 .*(in use|EADDRINUSE|AddrInUse)/s)
    })

    test('whose port is taken leaves nothing behind in a program that goes on', { timeout: 20_000 }, async (t) => {
      const env = { DATABASE_URL: database.url, POSTBAG_WEBHOOK_KEY: randomBytes(32).toString('base64') }
      const caught = "startServer().catch(() => ({ url: 'nowhere' }))"
      const program = await start({ env: { ...env, ...(await takenPort(t)) } }, caught)
      t.after(() => program.stop('SIGKILL'))
      assert.equal(program.url, 'nowhere')

      assert.equal(await program.ended, 0)
    })
  })
}

async function takenPort(t: TestContext): Promise<{ readonly PORT: string }> {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await once(other, 'listening')
  return { PORT: String((other.address() as { port: number }).port) }
}

/** Make a queue of this name and wait for it; resolves when the server does, and is told by the database. */
export async function openReceive(
  url: string,
  queue: string,
  secret?: string,
): Promise<{ readonly answer: Promise<Response> }> {
  const token = secret === undefined ? '' : await signToken(secret, { scopes: ['admin'], now: new Date() })
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
  await fetch(`${url}/v1/queues/${queue}`, { method: 'PUT', headers })
  const answer = fetch(`${url}/v1/queues/${queue}/receive`, { method: 'POST', headers, body: '{"waitSeconds":20}' })
  await until('LISTEN', async () => isTold.test(await wakeUp(url)) || undefined)
  return { answer }
}

async function wakeUp(url: string): Promise<string> {
  const health = (await (await fetch(`${url}/healthz`)).json()) as { wakeUp: string }
  return health.wakeUp
}

async function messagesOf(response: Response): Promise<readonly object[]> {
  assert.equal(response.status, 200)
  return ((await response.json()) as { messages: object[] }).messages
}
