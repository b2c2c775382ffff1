/* ZeroMQ's patterns: each recipe runs to its end, and says what it shows. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { NodeServer } from '../../functions/node.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { example } from './programs.ts'

let server: NodeServer
before(async () => {
  server = await startOpenServer((await createDatabase()).url)
})
after(() => server.stop())

const recipes: Readonly<Record<string, readonly string[]>> = {
  'req-rep': ['Hello → Hello, World!', 'Goodbye → Goodbye, World!'],
  'pub-sub': ['reached 0', 'reached 2', 'reached 1', 'zmq-manhattan: rain', 'zmq-everywhere: rain, sun'],
  'push-pull': ['the sum of the squares of 1 to 100 is 338350'],
  'dealer-router': ['ANN ONE, ANN TWO, ANN THREE', 'BOB ONE, BOB TWO, BOB THREE'],
  pair: ['Ping heard 1', 'Pong heard 2', 'Ping heard 3', 'Pong heard 4', 'Ping heard 5', 'Pong heard 6'],
  majordomo: [
    'echo: there',
    'coffee: not there',
    'worker 1 took "Hello World!" at attempt 1, and died',
    'worker 2 took "Hello World!" at attempt 2',
    'the client got "Hello World!"',
  ],
  titanic: ['asked, and left', 'replied, and left', 'came back, and read "Busy."'],
}

for (const [name, said] of Object.entries(recipes)) {
  test(`${name} shows what it says, and leaves nothing behind`, async () => {
    assert.deepEqual(await example(`zeromq/${name}`, { POSTBAG_URL: server.url }), said)

    const queues = await (await fetch(`${server.url}/v1/queues?prefix=zmq`)).json()
    assert.deepEqual(queues.queues, [])
  })
}
