/* What a log may say of an error: nothing of what was sent, and nothing that only a developer of the SQL reads. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startServer } from '../functions/node.ts'
import { createClient } from '../src/client/index.ts'
import { asQueueError } from '../src/db/call.ts'
import { errorForLog } from '../src/errors.ts'
import { createDatabase, type TestDatabase } from './support/database.ts'

/** The error of a statement. */
async function errorOf({ pool }: TestDatabase, text: string, values: unknown[] = []): Promise<Error> {
  return pool.query(text, values).then(
    () => assert.fail('it was to fail'),
    (error) => error,
  )
}

test('Postgres quotes data in messages, details and contexts: they stay out', async () => {
  const database = await createDatabase()
  await database.pool.query('create table kept (body text primary key check (length(body) > 3))')
  await database.pool.query(`insert into kept values ('PRIVATE')`)

  for (const [code, text, values] of [
    ['22P02', 'select $1::text::integer', ['PRIVATE']],
    ['22P02', 'select $1::text::jsonb', ['{"a": PRIVATE}']],
    ['23505', 'insert into kept values ($1)', ['PRIVATE']],
    ['P0001', `do $$ begin raise exception 'not PRIVATE'; end $$`, []],
  ] as const) {
    const error = await errorOf(database, text, [...values])

    assert.match(errorForLog(error), new RegExp(`^error: SQLSTATE ${code}\\n +at `))
    assert.doesNotMatch(errorForLog(asQueueError(error)), /PRIVATE/)
  }
})

test('of other errors it says what they are, without the context', async () => {
  const database = await createDatabase()

  const error = await errorOf(database, `do $$ begin perform nowhere.nothing(); end $$`)
  const away = asQueueError(Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), { code: 'ECONNREFUSED' }))

  assert.match(errorForLog(error), /^error: schema "nowhere" does not exist\n +at /)
  assert.doesNotMatch(errorForLog(error), /PL\/pgSQL/)
  assert.match(errorForLog(away), /^QueueError: the database cannot be reached: connect ECONNREFUSED/)
  assert.equal(errorForLog('gone'), 'gone')
  const closed = Object.assign(new Error('password authentication failed for user "app"'), { code: '28P01' })
  assert.match(
    errorForLog(asQueueError(closed)),
    /^QueueError: the database refuses this server's login: password authentication failed for user "app"\n/,
  )
})

test('a server whose database refuses a message by a trigger of its owner logs nothing of the message', async (t) => {
  const database = await createDatabase()
  const lines: string[] = []
  const server = await startServer({
    access: { kind: 'open' },
    host: '127.0.0.1',
    port: 0,
    databaseUrl: database.url,
    log: (line) => lines.push(JSON.stringify(line)),
  })
  t.after(() => server.stop())
  const queue = createClient({ url: server.url, retries: 0 }).queue('orders')
  await queue.create()
  await database.pool.query(`
    create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'not this one: %', to_jsonb(new); end $$;
    create trigger refuse before insert on postbag.message for each row execute function refuse()`)

  await assert.rejects(queue.send('PRIVATE'), { code: 'internal' })

  const [line = ''] = lines.filter((each) => each.includes('"status":500'))
  assert.match(line, /"error":"error: SQLSTATE P0001\\n/)
  assert.doesNotMatch(lines.join('\n'), /PRIVATE|[A-Z]*UFJJVkFURQ|505249564154/)
})
