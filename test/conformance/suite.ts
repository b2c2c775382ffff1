/* Runs the whole list against one runtime: a fresh database, a proxy before it, the server, then the cases, many at a time. */
import type { ServerResponse } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { signToken } from '../../src/http/token.ts'
import { createDatabase } from '../support/database.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { type ReceivedRequest, startReceiver } from '../webhooks/webhook-receiver.ts'
import { cases } from './cases.ts'
import type { Ability, Case, Target } from './target.ts'

export interface Runtime {
  readonly name: string
  /** What the platform cannot do: other claims hold there instead. */
  readonly cannot?: readonly Ability[]
  /** Which cases: all, unless it differs from another one in this list in a part of them only. */
  readonly cases?: readonly Case[]
  /** How many of them run at once. */
  readonly concurrency?: number
  /** Start a server over the database with access by token. */
  start(options: {
    readonly databaseUrl: string
    readonly secret: string
    /** The settings of webhooks, by their names: a key, and that receivers may be on this machine. */
    readonly webhooks: Readonly<Record<string, string>>
    readonly onLog: (line: string) => void
  }): Promise<{ readonly url: string; stop(): Promise<unknown> }>
  /** As in Target. */
  leave(url: string, request: RequestInit, afterMillis: number): Promise<void>
}

/** A key for the secrets of endpoints: 32 bytes. */
const webhookKey = `${'0123456789'.repeat(4)}abc=`

/** A receiver that answers /…/503 with 503. */
function answerByPath({ path }: ReceivedRequest, response: ServerResponse): void {
  response.writeHead(Number(/\/(\d{3})$/.exec(path)?.[1] ?? 200), { 'x-receiver': 'ours' }).end('thanks')
}

/** How many cases run at once, unless a runtime says otherwise. */
const usualConcurrency = 8

/** Of one case, in milliseconds. */
const timeout = 30_000

export function conformanceOf(runtime: Runtime): void {
  const { name, cannot = [], concurrency = usualConcurrency } = runtime
  const held = (runtime.cases ?? cases).filter(
    ({ needs = [], without }) =>
      ![needs].flat().some((ability) => cannot.includes(ability)) && (!without || cannot.includes(without)),
  )

  describe([name, ...cannot.map((ability) => `never ${ability}`)].join(', '), () => {
    const stops: (() => Promise<unknown>)[] = []
    let target: Target

    before(async () => {
      const database = await createDatabase()
      const proxy = await startTcpProxy(database.url)
      const secret = 'a secret of thirty-two characters'
      const log: string[] = []
      const server = await runtime.start({
        databaseUrl: proxy.url,
        secret,
        webhooks: { POSTBAG_WEBHOOK_KEY: webhookKey, POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'true' },
        onLog: (line) => log.push(line),
      })
      const receiver = await startReceiver(answerByPath)
      stops.push(() => server.stop(), receiver.stop, proxy.stop)
      target = {
        url: server.url,
        secret,
        webhooks: { keys: webhookKey, allowPrivate: true },
        token: await signToken(secret, { scopes: ['admin'], now: new Date() }),
        database,
        proxy,
        receiver,
        log,
        leave: (path, request, afterMillis) => runtime.leave(`${server.url}${path}`, request, afterMillis),
      }
    })
    after(async () => {
      for (const stop of stops) await stop()
    })

    describe('side by side', { concurrency }, () => {
      for (const { claim, run } of held.filter(({ alone }) => !alone)) test(claim, { timeout }, () => run(target))
    })
    describe('one by one', () => {
      for (const { claim, run } of held.filter(({ alone }) => alone)) test(claim, { timeout }, () => run(target))
    })
  })
}
