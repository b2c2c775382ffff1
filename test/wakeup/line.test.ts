/* The line where looks take long: one that hangs holds up those behind it for a moment only, and slow ones cause no others for ever. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../src/db/connect.ts'
import { createListenHub } from '../../src/wakeup/listen-hub.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { closedAfter, createWaiting, receivesOver, watchers } from './waiting.ts'

const database = await createDatabase()
const { pool, url } = database

for (const [name, createHub] of Object.entries({
  'told by the database': () => createListenHub({ url, executor: pool }),
  'that polls': () => createPollHub({ executor: pool }),
})) {
  test(`at a hub ${name}, a look that hangs keeps no message from who waits behind it`, async (t) => {
    const proxy = await startTcpProxy(url)
    const silent = connect(proxy.url)
    const hub = closedAfter(createHub())
    const behind = receivesOver(hub, pool)
    const queue = await newQueue(pool)
    const hanging = receivesOver(hub, silent)
    const hangs = hanging.wait(queue)
    await until('its first look', async () => hanging.looked || undefined)
    const waiting = [behind.wait(queue), behind.wait(queue)]
    await until('their first looks', async () => behind.looked === 2 || undefined)
    await until('the watch', async () => hub.mode.toString().startsWith('poll') || (await watchers(pool, queue))[0])
    t.after(() => proxy.stop())

    proxy.stall()
    const sent = performance.now()
    await on(pool, queue).send(1)
    const first = await Promise.race(waiting)
    const millis = performance.now() - sent
    await on(pool, queue).send(2)

    assert.equal(hanging.looks - hanging.looked, 1)
    assert.deepEqual([first, (await Promise.all(waiting)).flat().sort()], [['1'], ['1', '2']])
    assert.ok(millis < 3000, `${millis} ms`)
    await proxy.restore()
    await on(pool, queue).send(3)
    assert.deepEqual(await hangs, ['3'])
    await silent.end()
  })
}

test('looks that all take long, and find nothing, come to an end', async () => {
  const world = await createWaiting(database)
  const queue = await newQueue(pool)
  const slow = receivesOver(world.hub, {
    async query(text, values) {
      await sleep(1200)
      return pool.query(text, values)
    },
  })
  const leave = new AbortController()
  const waiting = Array.from({ length: 10 }, () => slow.wait(queue, { signal: leave.signal }))
  await until('their first looks', async () => slow.looked === 10 || undefined)
  await world.watched(queue)

  world.hub.poke(queue)
  await sleep(6000)

  assert.equal(slow.looks, slow.looked)
  assert.ok(slow.looks <= 10 + 3, `${slow.looks} looks`)
  leave.abort()
  await Promise.all(waiting)
})
