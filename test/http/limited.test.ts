/* A queue whose receives take turns, over HTTP, beside a transaction of somebody else's that has received from it and stays open. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { newQueue, on } from '../support/sql-verbs.ts'

const database = await createDatabase()
const { pool } = database

for (const limit of [{ max_in_flight: 100 }, { rate: 1000 }]) {
  test(`an open transaction that received with ${JSON.stringify(limit)} keeps nobody from the other queues`, async (t) => {
    const [limited, other] = [await newQueue(pool, limit), await newQueue(pool)]
    await on(pool, limited).sendBatch([{ body: 1 }, { body: 2 }])
    const server = await startOpenServer(database.url)
    const open = await database.connect()
    t.after(async () => {
      await open.query('rollback')
      await server.stop()
    })
    const post = (path: string, body: object) =>
      fetch(`${server.url}/v1/queues/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    await open.query('begin')
    await on(open, limited).receive()

    const started = performance.now()
    const waiting = Array.from({ length: 30 }, () => post(`${limited}/receive`, { waitSeconds: 4 }))
    const sent = await post(`${other}/messages`, { body: 1 })
    const millis = performance.now() - started

    assert.equal(sent.status, 201)
    assert.ok(millis < 3000, `${millis} ms`)
    await open.query('commit')
    const bodies = (await Promise.all(waiting)).map(async (answer) => {
      assert.equal(answer.status, 200)
      return ((await answer.json()) as { messages: { body: number }[] }).messages.map(({ body }) => body)
    })
    assert.deepEqual((await Promise.all(bodies)).flat(), [2])
  })
}
