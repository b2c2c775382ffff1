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
      code: 'database_unavailable',
      detail: 'there is no such database',
    },
  })
  const line = lines.find(({ path }) => path === '/readyz')
  assert.match(String(line?.['reason']), /^there is no such database: .*no_such_database.* does not exist$/)
})

for (const [problem, change, detail, reason] of [
  [
    'does not let it in',
    (url: URL) => Object.assign(url, { password: 'wrong' }),
    "the database refuses this server's login",
    /: password authentication failed for user "\w+"$/,
  ],
  [
    'is not there',
    (url: URL) => Object.assign(url, { pathname: '/no_such_database' }),
    'there is no such database',
    /: database "no_such_database" does not exist$/,
  ],
] as const) {
  test(`requests are told to try again while the database ${problem}, and the log has what Postgres said`, async (t) => {
    const { url } = await createDatabase()
    const lines: Record<string, unknown>[] = []
    const server = await startOpenServer(change(new URL(url)).href, { log: (line) => lines.push(line) })
    t.after(() => server.stop())

    for (const [path, body] of [
      ['/v1/queues', undefined],
      ['/v1/queues/q/receive', '{"waitSeconds":1}'],
      ['/v1/queues/q/messages', '{"body":1}'],
    ] as const) {
      const answer = await fetch(server.url + path, body === undefined ? {} : { method: 'POST', body })

      const { code, detail: said } = (await answer.json()) as { code: string; detail: string }
      assert.deepEqual([answer.status, code, said], [503, 'database_unavailable', detail], path)
      assert.equal(answer.headers.get('retry-after'), '1')
      const line = lines.find((each) => each['path'] === path)
      assert.equal(line?.['error'], 'database_unavailable')
      assert.match(String(line?.['reason']), reason)
    }
  })
}
