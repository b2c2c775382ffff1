/* A Worker in workerd with its Durable Object, over a database of its own, and receives that wait there. */
import assert from 'node:assert/strict'
import { signToken } from '../../src/http/token.ts'
import { type RunningWorker, startWorker } from '../runtimes/workerd.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { watchers } from '../wakeup/waiting.ts'

export const secret = 'a secret of thirty-two characters'
/** May do everything. */
export const authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`

/** More than a receive takes that is woken, on however busy a machine, and less than it waits. */
const longestMillis = 17_000

export interface World {
  readonly database: TestDatabase
  readonly worker: RunningWorker
  /** Before the database, for the Worker; the object goes past it. */
  readonly proxy: TcpProxy
  readonly log: readonly string[]
  call(method: string, path: string, body?: object): Promise<Response>
  /** The bodies of what a receive gets. */
  receive(queue: string, options?: object): Promise<unknown[]>
  watched(queue: string): Promise<void>
  stop(): Promise<void>
}

/** @param vars beside those it needs */
export async function createWorld(entry: string, vars: Readonly<Record<string, string>> = {}): Promise<World> {
  const database = await createDatabase()
  const proxy = await startTcpProxy(database.url)
  const log: string[] = []
  const worker = await startWorker(entry, proxy.url, {
    vars: { POSTBAG_SECRET: secret, DATABASE_DIRECT_URL: database.url, ...vars },
    hub: true,
    onLog: (line) => log.push(line),
  })
  const call = (method: string, path: string, body?: object) =>
    fetch(`${worker.url}${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
  return {
    database,
    worker,
    proxy,
    log,
    call,
    async receive(queue, options = {}) {
      const started = performance.now()
      const answer = await call('POST', `/v1/queues/${queue}/receive`, { waitSeconds: 20, ...options })
      assert.ok(performance.now() - started < longestMillis, 'nobody woke it')
      assert.equal(answer.status, 200, await answer.clone().text())
      const { messages } = (await answer.json()) as { messages: { body: unknown }[] }
      return messages.map(({ body }) => body)
    },
    async watched(queue) {
      await until(`the object to watch ${queue}`, async () => (await watchers(database.pool, queue))[0])
    },
    async stop() {
      await worker.stop()
      await proxy.stop()
    },
  }
}
