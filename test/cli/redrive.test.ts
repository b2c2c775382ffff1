/* postbag redrive: which dead letters come back, where to, and what is said of it, also when it is interrupted. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, describe, test } from 'node:test'
import { type Client, createClient, type Queue } from '../../src/client/index.ts'
import { createPlace, type Outcome, type Place, postbag, start } from './command.ts'

let place: Place
let client: Client
let run: (...args: readonly string[]) => Promise<Outcome>
let made = 0

before(async () => {
  place = await createPlace()
  client = createClient(place)
  run = (...args) => postbag(args, { env: place.env })
})

async function queueWithDead(...bodies: readonly unknown[]): Promise<Queue> {
  const queue = client.queue(`redriven-${++made}`)
  await queue.create()
  await queue.sendBatch(bodies.map((body) => ({ body, type: `type.${body}` })))
  for (const message of await queue.receive({ max: 10 })) await message.reject(`cannot do ${message.body}`)
  return queue
}

async function states(queue: Queue): Promise<string[]> {
  return (await queue.peek({ max: 1000 })).messages.map(({ state }) => state)
}

describe('postbag redrive', () => {
  test('brings all dead letters back, and says how many', async () => {
    const queue = await queueWithDead(1, 2, 3)

    const first = await run('redrive', queue.name)
    const second = await run('redrive', queue.name, '--json')

    assert.deepEqual([first.code, first.stdout], [0, `Brought 3 messages of ${queue.name} back.\n`])
    assert.deepEqual(JSON.parse(second.stdout), { redrivenMessages: 0 })
    assert.deepEqual(await states(queue), ['ready', 'ready', 'ready'])
  })

  test('with --dry-run only counts', async () => {
    const queue = await queueWithDead(1)

    const { stdout } = await run('redrive', queue.name, '--dry-run')

    assert.equal(stdout, `Would bring 1 message of ${queue.name} back.\n`)
    assert.deepEqual(await states(queue), ['dead'])
  })

  test('brings them to another queue with --to', async () => {
    const [queue, slow] = [await queueWithDead(1), await queueWithDead()]

    const { stdout } = await run('redrive', queue.name, '--to', slow.name)

    assert.equal(stdout, `Brought 1 message of ${queue.name} back to ${slow.name}.\n`)
    assert.deepEqual([await states(queue), await states(slow)], [[], ['ready']])
  })

  test('lets them be received one after the other with --rate', async () => {
    const queue = await queueWithDead(1, 2, 3)

    await run('redrive', queue.name, '--rate', '1/m')

    assert.deepEqual((await states(queue)).slice(1), ['delayed', 'delayed'])
  })

  test('brings back at most --max', async () => {
    const queue = await queueWithDead(1, 2, 3)

    const { stdout } = await run('redrive', queue.name, '--max', '2', '--json')

    assert.deepEqual(JSON.parse(stdout), { redrivenMessages: 2 })
    assert.deepEqual(await states(queue), ['ready', 'ready', 'dead'])
  })

  for (const [options, count] of [
    [['--type', 'type.2'], 1],
    [['--reason', 'rejected'], 3],
    [['--reason', 'expired'], 0],
    [['--error-contains', 'do 2'], 1],
    [['--error-contains', 'timeout'], 0],
    [['--min-age', '1h'], 0],
    [['--max-age', '1h', '--type', 'type.1'], 1],
    [['--group', 'customer-7'], 0],
    [['--header', 'tenant=acme'], 0],
  ] as const) {
    test(`brings back only what fits: ${options.join(' ')}`, async () => {
      const queue = await queueWithDead(1, 2, 3)

      const { stdout, stderr } = await run('redrive', queue.name, ...options, '--json')

      assert.deepEqual(JSON.parse(stdout), { redrivenMessages: count }, stderr)
      assert.equal((await states(queue)).filter((state) => state === 'ready').length, count)
    })
  }

  test('brings back those with the given ids', async () => {
    const queue = await queueWithDead(1, 2, 3)
    const [first, , third] = (await queue.peek()).messages

    await run('redrive', queue.name, '--id', first?.id ?? '', '--id', third?.id ?? '')

    assert.deepEqual(await states(queue), ['ready', 'dead', 'ready'])
  })

  test('goes on where another one ended, with --after', async () => {
    const queue = await queueWithDead(1, 2)
    const { next = '' } = await queue.redrive({ max: 1 })

    const { stdout } = await run('redrive', queue.name, '--after', next)

    assert.equal(stdout, `Brought 1 message of ${queue.name} back.\n`)
  })

  test('that is interrupted lets the call under way end, and says how far it came', async (t) => {
    let answered = 0
    const asked = Promise.withResolvers<void>()
    const endless = createServer((_, response) => {
      asked.resolve()
      const answer = JSON.stringify({ redrivenMessages: 1000, next: `${++answered}` })
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
    })
    await new Promise<void>((listening) => endless.listen(0, '127.0.0.1', listening))
    t.after(() => endless.close().closeAllConnections())
    const url = `http://127.0.0.1:${(endless.address() as AddressInfo).port}`
    const redriving = start(['redrive', 'orders', '--url', url])
    await asked.promise

    redriving.child.kill('SIGINT')

    const { code, stdout, stderr } = await redriving.ended
    const brought = `${(answered * 1000).toLocaleString('en-US')} messages of orders`
    assert.deepEqual([code, stdout], [130, ''])
    assert.equal(stderr, `error: interrupted\nBrought ${brought} back. To go on: --after ${answered}\n`)
  })

  test('refuses a queue to bring them to that is not there', async () => {
    const queue = await queueWithDead(1)

    const { code, stderr } = await run('redrive', queue.name, '--to', 'nowhere')

    assert.equal(code, 1)
    assert.match(stderr, /nowhere/)
    assert.deepEqual(await states(queue), ['dead'])
  })
})
