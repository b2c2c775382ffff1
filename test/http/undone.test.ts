/* A request that Postgres ends: because it and another transaction wait for each other, or because it takes longer than the database allows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openLocal } from '../../functions/local.ts'
import { createClient } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { backendOf, isWaitedFor, newQueue, on } from '../support/sql-verbs.ts'

test('a deadlock is told to try again, and has changed nothing', async (t) => {
  const database = await createDatabase()
  const [other, looker] = await Promise.all([database.connect(), database.connect()])
  // It is the request that looks for the deadlock, and finds it.
  await other.query(`set deadlock_timeout = '1h'`)
  const queue = await newQueue(database.pool)
  await on(database.pool, queue).send('stays')
  const pid = await backendOf(other)
  const server = await startOpenServer(database.url)
  t.after(() => server.stop())
  await other.query('begin')
  await other.query('select from postbag.message for update')

  const request = fetch(`${server.url}/v1/queues/${queue}`, { method: 'DELETE' })
  await isWaitedFor(looker, pid)
  await other.query('select from postbag.queue where name = $1 for update', [queue])
  const answer = await request

  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.equal(((await answer.json()) as { code: string }).code, 'database_unavailable')
  await other.query('rollback')
  assert.equal((await fetch(`${server.url}/v1/queues/${queue}`)).status, 200)
})

for (const setting of ['lock_timeout', 'statement_timeout']) {
  test(`what ${setting} ends is told to try again, and has changed nothing`, async (t) => {
    const database = await createDatabase()
    const queue = await newQueue(database.pool)
    const other = await database.connect()
    await database.pool.query(`alter database ${new URL(database.url).pathname.slice(1)} set ${setting} = '100ms'`)
    const server = await startOpenServer(database.url)
    t.after(() => server.stop())
    await other.query('begin; lock table postbag.message')

    const answer = await fetch(`${server.url}/v1/queues/${queue}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"body":1}',
    })

    const { code, detail } = (await answer.json()) as { code: string; detail: string }
    assert.deepEqual([answer.status, code], [503, 'database_unavailable'])
    assert.match(detail, new RegExp(`\\(${setting}\\): nothing was changed, try again`))
    await other.query('commit')
    assert.deepEqual(await on(database.pool, queue).peek(), [])
  })
}

for (const where of ['over HTTP', 'in the process']) {
  test(`an extend does not wait for long for a transaction that settles one of its messages: ${where}`, async (t) => {
    const database = await createDatabase()
    const other = await database.connect()
    const server = await (where === 'over HTTP'
      ? startOpenServer(database.url)
      : openLocal({ databaseUrl: database.url }))
    t.after(() => server.stop())
    const fetch = 'fetch' in server ? { fetch: server.fetch } : {}
    const queue = createClient({ url: server.url, retries: 0, ...fetch }).queue('q')
    await queue.create()
    await queue.sendBatch([{ body: 'one' }, { body: 'other' }])
    const receipts = (await queue.receive({ max: 2 })).map(({ receipt }) => receipt)
    const [free = '', taken = ''] = receipts
    await other.query('begin')
    t.after(() => other.query('rollback'))
    await other.query(`select postbag.ack('q', $1)`, [JSON.stringify([taken])])

    const signal = AbortSignal.timeout(15_000)
    const both = queue.extend(receipts, { leaseSeconds: 100, signal })

    await assert.rejects(both, { code: 'database_unavailable', message: /\(lock_timeout\): nothing was changed/ })
    assert.deepEqual(await queue.extend([free], { leaseSeconds: 100, signal }), [{ receipt: free, outcome: 'ok' }])
  })
}
