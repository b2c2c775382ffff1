/* Endpoints of webhooks through their client, against the real server. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { EndpointInfo } from '../../src/client/endpoints.ts'
import { until } from '../support/until.ts'
import { type Receiver, startReceiver } from '../webhooks/webhook-receiver.ts'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer
let receiver: Receiver
let made = 0

before(async () => {
  real = await startRealServer()
  // (A number is answered with that status.)
  receiver = await startReceiver(({ body }, response) => response.writeHead(Number(body) || 200).end())
})
after(() => receiver.stop())

async function newEndpoint(config: object = {}) {
  const exchange = real.client.exchange(`client-events-${++made}`)
  await exchange.declare({ type: 'topic' })
  const endpoint = real.endpoints.endpoint(`client-endpoint-${made}`)
  const info = await endpoint.set({ url: receiver.url, exchange: exchange.name, ...config })
  return {
    exchange,
    endpoint,
    info,
    /** Its attempts, the newest first, once there are so many. */
    attempted: (count: number) =>
      until(`${count} attempts`, async () => {
        const attempts = await all(endpoint.attempts())
        return attempts.length >= count ? attempts : undefined
      }),
  }
}

async function all<One>(pages: AsyncIterable<One>): Promise<One[]> {
  const list: One[] = []
  for await (const one of pages) list.push(one)
  return list
}

test('an endpoint is set, described, switched and deleted', async () => {
  const { endpoint, exchange, info } = await newEndpoint({ application: 'switched', timeoutSeconds: undefined })
  const { secret, ...told } = info

  assert.match(secret ?? '', /^whsec_/)
  assert.deepEqual(await endpoint.info(), told)
  assert.equal((await endpoint.pause()).state, 'paused')
  assert.equal((await endpoint.resume()).state, 'enabled')
  assert.equal((await endpoint.disable()).state, 'disabled')
  assert.equal((await endpoint.enable()).state, 'enabled')
  const rotated = await endpoint.rotateSecret({ overlapSeconds: 60 })
  assert.notEqual(rotated.secret, secret)
  assert.equal('secret' in (await endpoint.rotateSecret({ secret })), false)
  await endpoint.pause()
  await exchange.publish(1, { routingKey: 'a' })
  assert.equal(await endpoint.delete(), 1)
  await assert.rejects(endpoint.info(), { code: 'endpoint_not_found' })
})

test('endpoints are listed, of one application or all', async () => {
  const names: string[] = []
  for (let count = 0; count < 3; count++) names.push((await newEndpoint({ application: 'listed' })).endpoint.name)
  const other = await newEndpoint()
  const namesOf = (list: readonly EndpointInfo[]) => list.map(({ name }) => name)

  const ours = namesOf(await all(real.endpoints.endpoints({ application: 'listed' })))
  const everybody = namesOf(await all(real.endpoints.endpoints()))

  assert.deepEqual(ours, names.sort())
  assert.ok([...names, other.endpoint.name].every((name) => everybody.includes(name)))
})

test('a test event is sent, and again', async () => {
  const { endpoint, attempted } = await newEndpoint({ eventTypes: ['none'] })

  const { id, eventId } = await endpoint.test()
  await attempted(1)
  const again = await endpoint.resend(eventId)

  const attempts = await attempted(2)
  assert.deepEqual(
    attempts.map((attempt) => [attempt.id, attempt.type, attempt.outcome]),
    [
      [again, 'test', 'delivered'],
      [id, 'test', 'delivered'],
    ],
  )
  assert.deepEqual(await all(endpoint.attempts({ outcome: 'failed', max: 5 })), [])
  assert.deepEqual(await all(endpoint.attempts({ max: 1 })), attempts.slice(0, 1))
  await assert.rejects(endpoint.resend('evt_999999999999'), { code: 'event_not_found' })
})

test('what has failed for good is counted and recovered', async () => {
  const { endpoint, exchange, attempted } = await newEndpoint({ retriesSeconds: [] })
  await exchange.publishBatch([501, 502, 503].map((body) => ({ body, routingKey: 'a' })))
  await attempted(3)
  await endpoint.pause()

  assert.equal((await endpoint.statistics()).dead, 3)
  const heard: number[] = []
  assert.equal(await endpoint.recover({ errorContains: '502' }, { onProgress: (count) => heard.push(count) }), 1)
  assert.deepEqual(heard, [1])
  assert.equal(await endpoint.recover(), 2)
  const { waiting, dead } = await endpoint.statistics()
  assert.deepEqual([waiting, dead], [3, 0])
})
