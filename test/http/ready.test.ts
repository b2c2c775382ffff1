/* A server whose database refuses it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'

test('/readyz says that it cannot serve, and not to everybody why', async (t) => {
  const { url } = await createDatabase()
  const lines: Record<string, unknown>[] = []
  const server = await startOpenServer(url.replace(/[^/]*$/, 'no_such_database'), { log: (line) => lines.push(line) })
  t.after(() => server.stop())

  const answer = await fetch(`${server.url}/readyz`)

  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.deepEqual(await answer.json(), {
    status: 'unavailable',
    database: {
      status: 'unavailable',
      code: 'internal',
      detail: 'something went wrong here; the request id finds it in the log',
    },
  })
  const line = lines.find(({ path }) => path === '/readyz')
  assert.match(JSON.stringify(line), /no_such_database.* does not exist/)
})
