/* Webhooks of a server, over HTTP: endpoints, their secrets, what arrives, and what is known of it afterwards. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type NodeServer, startServer } from '../../functions/node.ts'
import type { AttemptListResponse, EndpointInfo, EndpointListResponse } from '../../src/wire.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { type Receiver, startReceiver, verified } from './webhook-receiver.ts'

const keys = randomBytes(32).toString('base64')
const logged: unknown[] = []
let database: TestDatabase
let server: NodeServer
let receiver: Receiver

before(async () => {
  database = await createDatabase()
  server = await start({ keys, allowPrivate: true })
  receiver = await startReceiver()
  await call('PUT', '/v1/exchanges/events', { type: 'topic' })
})
after(() => Promise.all([server.stop(), receiver.stop()]))

function start(webhooks?: { readonly keys: string; readonly allowPrivate: boolean }): Promise<NodeServer> {
  const log = (line: unknown) => void logged.push(line)
  return startServer({ access: { kind: 'open' }, databaseUrl: database.url, host: '127.0.0.1', port: 0, log, webhooks })
}

async function call<Answer = EndpointInfo>(method: string, path: string, body?: object, at = server) {
  const response = await fetch(`${at.url}${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  return { status: response.status, answer: (await response.json()) as Answer }
}

const publish = (routingKey: string, body: object, more: object = {}) =>
  call('POST', '/v1/exchanges/events/publish', { body, routingKey, type: routingKey, ...more })

const attempts = async (name: string) =>
  (await call<AttemptListResponse>('GET', `/v1/endpoints/${name}/attempts`)).answer.attempts

let made = 0

/** An endpoint at a path of the receiver that no other has, for event types of its own; what it gets. */
async function newEndpoint(more: object = {}) {
  const name = `endpoint-${++made}`
  const path = `/v1/endpoints/${name}`
  const config = { url: `${receiver.url}/${name}`, exchange: 'events', eventTypes: [`${name}.#`], ...more }
  const { status, answer } = await call('PUT', path, config)
  assert.equal(status, 201, JSON.stringify(answer))
  const got = () => receiver.got.filter((request) => request.path === `/${name}`)
  return {
    name,
    path,
    config,
    created: answer,
    publish: (body: object) => publish(`${name}.x`, body),
    arrived: (count: number) => until('an event', async () => (got().length >= count ? got() : undefined)),
    noted: () => until('an attempt', async () => ((await attempts(name)).length > 0 ? attempts(name) : undefined)),
  }
}

test('what is published arrives, signed with the secret that was told once', async () => {
  const one = await newEndpoint({ application: 'acme', metadata: { plan: 'gold' } })
  const { secret, ...shown } = one.created
  assert.match(secret ?? '', /^whsec_[A-Za-z0-9+/]{43}=$/)

  await one.publish({ id: 1 })
  const [request] = await one.arrived(1)

  assert.deepEqual(verified(secret, request), { id: 1 })
  const [attempt] = await one.noted()
  assert.equal(attempt?.eventId, request?.headers['webhook-id'])
  assert.deepEqual(
    [attempt?.number, attempt?.outcome, attempt?.status, attempt?.type, attempt?.responseBody],
    [1, 'delivered', 200, `${one.name}.x`, 'thanks'],
  )
  // Not told again, by whatever.
  const { answer } = await call('GET', one.path)
  assert.deepEqual(answer, shown)
  const list = await call<EndpointListResponse>('GET', '/v1/endpoints?application=acme')
  assert.deepEqual(list.answer.endpoints, [shown])
  const stored = await database.pool.query('select endpoint::text from postbag.endpoint')
  for (const place of [answer, list, logged, await attempts(one.name), stored.rows]) {
    assert.ok(!JSON.stringify(place).includes(String(secret).slice(6, 40)))
  }
})

test('a secret is rotated with an overlap, in which both sign', async () => {
  const own = `whsec_${randomBytes(24).toString('base64')}`
  const one = await newEndpoint({ secret: own })
  assert.equal(one.created.secret, undefined)

  const rotated = await call<{ secret: string }>('POST', `${one.path}/secret/rotate`, {})
  await one.publish({ id: 1 })
  const [first] = await one.arrived(1)
  await call('POST', `${one.path}/secret/rotate`, { overlapSeconds: 0 })
  await one.publish({ id: 2 })
  const [, second] = await one.arrived(2)

  for (const secret of [own, rotated.answer.secret]) {
    assert.deepEqual(verified(secret, first), { id: 1 })
    assert.throws(() => verified(secret, second))
  }
})

test('it is changed as a whole, but keeps its secret', async () => {
  const one = await newEndpoint({ description: 'first' })
  const { status, answer } = await call('PUT', one.path, {
    ...one.config,
    description: undefined,
    timeoutSeconds: 5,
    filter: { body: { paid: true } },
  })

  assert.equal(status, 200)
  assert.deepEqual([answer.description, answer.timeoutSeconds, answer.filter], [undefined, 5, { body: { paid: true } }])
  assert.equal(answer.secret, undefined)
  await one.publish({ id: 1, paid: false })
  await one.publish({ id: 2, paid: true })
  const [request] = await one.arrived(1)
  assert.deepEqual(verified(one.created.secret, request), { id: 2, paid: true })
})

test('an event is sent again by its id', async () => {
  const one = await newEndpoint()
  await one.publish({ id: 1 })
  const [noted] = await one.noted()

  const resent = await call<{ id: string }>('POST', `${one.path}/resend`, { eventId: noted?.eventId })

  assert.equal(resent.status, 201)
  const got = await one.arrived(2)
  assert.equal(got[0]?.headers['webhook-id'], got[1]?.headers['webhook-id'])
})

test('paused it waits, disabled it does not, and both come to an end', async () => {
  const one = await newEndpoint()

  assert.equal((await call('POST', `${one.path}/pause`)).answer.state, 'paused')
  await one.publish({ id: 1 })
  const waiting = await call<{ ready: number }>('GET', `/v1/queues/webhooks.${one.name}/stats`)
  assert.equal(waiting.answer.ready, 1)
  assert.equal((await call('POST', `${one.path}/resume`)).answer.state, 'enabled')
  await one.arrived(1)
  const disabled = await call('POST', `${one.path}/disable`)
  assert.deepEqual([disabled.answer.state, disabled.answer.disabledBecause], ['disabled', 'asked'])
  await one.publish({ id: 2 })
  assert.equal((await call('POST', `${one.path}/enable`)).answer.state, 'enabled')
  await one.publish({ id: 3 })
  const got = await one.arrived(2)
  assert.deepEqual(
    got.map(({ body }) => JSON.parse(body).id),
    [1, 3],
  )

  assert.equal((await call('DELETE', one.path)).status, 200)
  assert.equal((await call('GET', one.path)).status, 404)
})

test('a server that stops ends what is under way, and another delivers it', async () => {
  const one = await newEndpoint({ url: `${receiver.url}/hangs` })
  receiver.hangs = true
  await one.publish({ id: 1 })
  await until('a request', async () => receiver.got.find(({ path }) => path === '/hangs'))

  await server.stop()
  receiver.hangs = false
  server = await start({ keys, allowPrivate: true })

  await until('a delivery', async () => (await attempts(one.name)).find(({ outcome }) => outcome === 'delivered'))
})
