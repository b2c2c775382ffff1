/* The programs of the tutorial: who waits is started first, and gets what the other one sends. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { NodeServer } from '../../functions/node.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { endExamples, example, startExample } from './programs.ts'

let server: NodeServer
before(async () => {
  server = await startOpenServer((await createDatabase()).url)
})
after(async () => {
  endExamples()
  await server.stop()
})

const run = (name: string, ...args: readonly string[]) =>
  example(`tutorial/${name}`, { POSTBAG_URL: server.url }, ...args)
const start = (name: string, ...args: readonly string[]) =>
  startExample(`tutorial/${name}`, { POSTBAG_URL: server.url }, ...args)

test('1 hello world: by the default exchange', async () => {
  const receiver = await start('1-hello-world/receive')

  assert.deepEqual(await run('1-hello-world/send'), ['sent "Hello World!"'])

  assert.equal(await receiver.line(), 'received "Hello World!"')
  assert.equal(await receiver.stop(), 0)
})

test('2 work queue: who is free takes what comes next', async () => {
  const workers = [await start('2-work-queue/worker'), await start('2-work-queue/worker')]
  await run('2-work-queue/new-task', 'long', 'work...')
  const heard = workers.map((worker) => worker.line())
  const busy = await Promise.race(heard.map((line, index) => line.then(() => index)))
  assert.equal(await heard[busy], 'received "long work..."')

  await run('2-work-queue/new-task', 'short')

  // The one that is free takes it, and the other one goes on.
  assert.equal(await heard[1 - busy], 'received "short"')
  assert.equal(await workers[1 - busy]?.line(), 'done with "short"')
  assert.equal(await workers[busy]?.line(), 'done with "long work..."')
  assert.deepEqual(await Promise.all(workers.map((worker) => worker.stop())), [0, 0])
})

test('3 publish and subscribe: each gets everything', async () => {
  const receivers = [await start('3-publish-subscribe/receive-logs'), await start('3-publish-subscribe/receive-logs')]

  assert.deepEqual(await run('3-publish-subscribe/emit-log'), ['sent "info: Hello World!" to 2'])

  for (const receiver of receivers) {
    assert.equal(await receiver.line(), 'info: Hello World!')
    assert.equal(await receiver.stop(), 0)
  }
  assert.deepEqual(await run('3-publish-subscribe/emit-log', 'gone'), ['sent "gone" to 0'])
})

test('4 routing: each gets what it asked for', async () => {
  const receivers = [
    await start('4-routing/receive-logs', 'error'),
    await start('4-routing/receive-logs', 'warning', 'error'),
  ]

  assert.deepEqual(await run('4-routing/emit-log', 'warning', 'It', 'is', 'warm'), ['sent warning "It is warm" to 1'])
  assert.deepEqual(await run('4-routing/emit-log', 'error', 'It is on fire'), ['sent error "It is on fire" to 2'])

  assert.equal(await receivers[1]?.line(), 'warning: It is warm')
  for (const receiver of receivers) {
    assert.equal(await receiver.line(), 'error: It is on fire')
    assert.equal(await receiver.stop(), 0)
  }
})

test('5 topics: by pattern', async () => {
  const receivers = [await start('5-topics/receive-logs', 'kern.*'), await start('5-topics/receive-logs', '#.critical')]

  assert.deepEqual(await run('5-topics/emit-log', 'kern.info', 'up'), ['sent kern.info "up" to 1'])
  assert.deepEqual(await run('5-topics/emit-log', 'kern.critical', 'down'), ['sent kern.critical "down" to 2'])

  assert.equal(await receivers[0]?.line(), 'kern.info: up')
  for (const receiver of receivers) {
    assert.equal(await receiver.line(), 'kern.critical: down')
    assert.equal(await receiver.stop(), 0)
  }
})

test('6 request and reply', async () => {
  const answering = await start('6-request-reply/server')

  assert.deepEqual(await run('6-request-reply/client', '20'), ['fibonacci(20) = 6765'])

  assert.equal(await answering.line(), 'fibonacci(20)')
  assert.equal(await answering.stop(), 0)
})
