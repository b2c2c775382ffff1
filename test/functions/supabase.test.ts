/* The duties of the Supabase entry beside what it shares with every runtime (test/conformance/). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDeno } from '../runtimes/process.ts'
import { supabaseProgram } from '../runtimes/programs.ts'
import { createDatabase } from '../support/database.ts'
import { openReceive } from './own-server.ts'

const secret = 'a secret of thirty-two characters'

test('an isolate that is about to end answers who waits, at once', async (t) => {
  const database = await createDatabase()
  // Supabase's runtime dispatches it; here a signal does.
  const ending = `Deno.addSignalListener('SIGUSR1', () => dispatchEvent(new Event('beforeunload')))`
  const env = { SUPABASE_DB_URL: database.url, POSTBAG_SECRET: secret }
  const isolate = await startDeno(`${supabaseProgram}\n${ending}`, { env })
  t.after(() => isolate.stop('SIGKILL'))
  const { answer } = await openReceive(isolate.url, 'ends', secret)
  const started = performance.now()

  void isolate.stop('SIGUSR1')

  assert.deepEqual(await (await answer).json(), { messages: [] })
  assert.ok(performance.now() - started < 10_000)
})

test('it is served under its name, and where that has been taken off', async (t) => {
  const database = await createDatabase()
  const env = { SUPABASE_DB_URL: database.url, POSTBAG_SECRET: secret }
  const { url, stop } = await startDeno(supabaseProgram, { env })
  t.after(() => stop('SIGKILL'))

  assert.equal((await fetch(`${url}/healthz`)).status, 200)
  assert.equal((await fetch(`${url.replace('/postbag', '')}/healthz`)).status, 200)
  assert.equal((await fetch(`${url}-of-another/healthz`)).status, 404)
})

test('with another database than the project’s, it listens to that', async (t) => {
  const [project, own] = [await createDatabase(), await createDatabase()]
  const env = { SUPABASE_DB_URL: project.url, DATABASE_URL: own.url, POSTBAG_SECRET: secret }
  const { url, stop } = await startDeno(supabaseProgram, { env })
  t.after(() => stop('SIGKILL'))

  const { answer } = await openReceive(url, 'elsewhere', secret)
  await own.pool.query(`select postbag.send('elsewhere', '1')`)

  assert.equal(((await (await answer).json()) as { messages: object[] }).messages.length, 1)
})

for (const [what, env, detail] of [
  ['a secret', { SUPABASE_DB_URL: 'postgres://nobody@127.0.0.1:1/nothing' }, /POSTBAG_SECRET is not set/],
  ['a database', { POSTBAG_SECRET: secret }, /DATABASE_URL is not set/],
] as const) {
  test(`without ${what} every request is answered 500, which says what is missing`, async (t) => {
    const { url, stop } = await startDeno(supabaseProgram, { env })
    t.after(() => stop('SIGKILL'))

    const answer = await fetch(`${url}/healthz`)

    assert.equal(answer.status, 500)
    assert.match(((await answer.json()) as { detail: string }).detail, detail)
  })
}
