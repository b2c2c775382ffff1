/* A server that is about to stop refuses new work in a way that clients try again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../src/app.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'

test('a request to a stopping server is answered 503 with a time to try again, and does nothing', async () => {
  const { pool } = await createDatabase()
  const hub = createPollHub({ executor: pool })
  const app = createApp({ access: { kind: 'open' } })
  hub.close()

  const answer = await app.request('http://127.0.0.1/v1/queues/late', { method: 'PUT' }, { executor: pool, hub })

  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.equal(((await answer.json()) as { code: string }).code, 'server_stopping')
  const queues = await pool.query('select 1 from postbag.queue')
  assert.equal(queues.rowCount, 0)
})
