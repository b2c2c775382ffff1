/* Webhooks of a Supabase Edge Function, in Deno: with the platform's waitUntil the isolate is kept until what was published is delivered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signToken } from '../../src/http/token.ts'
import { startDeno } from '../runtimes/process.ts'
import { supabaseProgram } from '../runtimes/programs.ts'
import { until } from '../support/until.ts'
import { createWebhookWorld } from './webhook-world.ts'

const secret = 'a secret of thirty-two characters'

/** It says when what it was kept for is done. */
const program = `
  globalThis.EdgeRuntime = { waitUntil: (work) => work.then(() => console.log('{"kept":"until done"}')) }
  ${supabaseProgram}`

test('what is published arrives, and until then the isolate is kept; what was published in SQL waits for a clock', async (t) => {
  const world = await createWebhookWorld({ millis: 300 })
  const log: string[] = []
  const env = { SUPABASE_DB_URL: world.url, POSTBAG_SECRET: secret, ...world.env }
  const server = await startDeno(program, { env, onLog: (line) => log.push(line) })
  t.after(() => Promise.all([server.stop('SIGKILL'), world.receiver.stop()]))
  const headers = {
    authorization: `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`,
    'content-type': 'application/json',
  }
  const post = (path: string, body: object) =>
    fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })

  assert.equal((await post('/v1/exchanges/events/publish', { body: 'over HTTP' })).status, 201)
  await until('the end of the work', async () => log.find((line) => line.includes('until done')))
  assert.deepEqual(
    (await world.attempts()).map(({ outcome }) => outcome),
    ['delivered'],
  )

  await world.publishInSql()
  const answer = await post('/v1/deliver', {})
  assert.deepEqual([answer.status, await answer.json()], [200, { attempts: 1 }])
  assert.deepEqual(world.bodies(), ['over HTTP', 1])
})
