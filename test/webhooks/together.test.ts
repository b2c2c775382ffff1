/* Deliverers of different kinds on one database at the same time: each attempt is made by one of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startServer } from '../../functions/node.ts'
import { webhookSettings } from '../../src/config.ts'
import { startLambda } from '../runtimes/lambda.ts'
import { startBun, startDeno } from '../runtimes/process.ts'
import { bunProgram, denoProgram } from '../runtimes/programs.ts'
import { startWorker } from '../runtimes/workerd.ts'
import { until } from '../support/until.ts'
import { createWebhookWorld } from './webhook-world.ts'

const entry = (name: string) => fileURLToPath(new URL(`../../functions/${name}.ts`, import.meta.url))
const secret = 'a secret of thirty-two characters'
const onLog = () => {}

/** One process has at most 64 attempts to one host under way, so with that many there are four at work. */
const overlap = 3 * 64 + 1
/** Of which each has one attempt under way, while nobody has got an answer. */
const endpoints = 300

test('Node, Bun, Deno, a Worker and a Lambda function together deliver to each endpoint once', async (t) => {
  const held: (() => void)[] = []
  let isOpen = false
  const world = await createWebhookWorld({
    endpoints,
    config: { timeout: '60 s' },
    // Nobody gets an answer before so many attempts are under way.
    async beforeAnswer() {
      if (isOpen) return
      const answer = new Promise<void>((resolve) => held.push(resolve))
      if (held.length >= overlap) {
        isOpen = true
        for (const release of held) release()
      }
      await answer
    },
  })
  const env = { DATABASE_URL: world.url, POSTBAG_SECRET: secret, ...world.env }
  const webhooks = webhookSettings(world.env)
  const own = { access: { kind: 'token', secret }, host: '127.0.0.1', port: 0, log: onLog } as const
  const servers = [
    await startServer({ ...own, databaseUrl: world.url, webhooks }),
    await startBun(bunProgram, { env: { ...env, PORT: '0' }, onLog }),
    await startDeno(denoProgram, { env: { ...env, PORT: '0' }, onLog }),
  ]
  const worker = await startWorker(entry('cloudflare'), world.url, { vars: env, onLog })
  const lambda = await startLambda(entry('lambda'), { env, handler: 'scheduled', timeoutMillis: 100_000, onLog })
  t.after(async () => {
    isOpen = true
    for (const release of held) release()
    await Promise.all([...servers, worker, lambda].map((server) => server.stop()))
    await world.receiver.stop()
  })

  await world.publishInSql()
  const clocks = Promise.all([worker.scheduled(), lambda.invoke({ source: 'aws.events' })])

  await until('an overlap', async () => (isOpen ? true : undefined))
  const attempts = await until('all attempts', async () => {
    const { rows } = await world.pool.query('select number, outcome from postbag.attempt')
    return rows.length >= endpoints ? rows : undefined
  })
  await clocks
  const paths = world.receiver.got.map(({ path }) => path)
  assert.deepEqual([paths.length, new Set(paths).size], [endpoints, endpoints])
  assert.deepEqual(
    [attempts.length, new Set(attempts.map(({ number, outcome }) => `${number} ${outcome}`))],
    [endpoints, new Set(['1 delivered'])],
  )
})
