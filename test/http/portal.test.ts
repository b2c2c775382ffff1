/* A subscriber's own view: what a token for a portal opens, of all routes there are, and what it shows of whom. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { type NodeServer, startServer } from '../../functions/node.ts'
import { signToken } from '../../src/http/token.ts'
import type { AttemptListResponse, EndpointInfo, EndpointListResponse, Problem } from '../../src/wire.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { type Receiver, startReceiver } from '../webhooks/webhook-receiver.ts'

const secret = 'a secret of at least 32 characters'
const admin = await signToken(secret, { scopes: ['admin'], now: new Date() })
const acme = await portal('acme')
let server: NodeServer
let receiver: Receiver

before(async () => {
  const { url: databaseUrl } = await createDatabase()
  const webhooks = { keys: randomBytes(32).toString('base64'), allowPrivate: true }
  const access = { kind: 'token', secret } as const
  server = await startServer({ access, databaseUrl, host: '127.0.0.1', port: 0, log: () => {}, webhooks })
  receiver = await startReceiver()
  await call(admin, 'PUT', '/v1/exchanges/events', { type: 'topic' })
})
after(() => Promise.all([server.stop(), receiver.stop()]))

function portal(application: string): Promise<string> {
  const now = new Date()
  return signToken(secret, { scopes: [`portal:${application}`], now, expiresAt: new Date(now.getTime() + 3_600_000) })
}

async function call<Shape = Problem>(token: string, method: string, path: string, body?: object) {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, text, answer: JSON.parse(text) as Shape }
}

let made = 0

/** An endpoint of an application, or of none; its name. Its operator has noted something of it. */
async function newEndpoint(application?: string): Promise<string> {
  const name = `endpoint-${String(++made).padStart(3, '0')}`
  const config = {
    url: receiver.url,
    exchange: 'events',
    eventTypes: [name],
    metadata: { note: 'internal' },
    headers: { authorization: 'Bearer hidden' },
  }
  const { status } = await call(admin, 'PUT', `/v1/endpoints/${name}`, {
    ...config,
    ...(application && { application }),
  })
  assert.equal(status, 201)
  return name
}

/** Publish an event for one endpoint; its id, when it has arrived. */
async function eventFor(endpoint: string): Promise<string> {
  await call(admin, 'POST', '/v1/exchanges/events/publish', { body: 1, routingKey: endpoint })
  const path = `/v1/endpoints/${endpoint}/attempts`
  const attempts = async () => (await call<AttemptListResponse>(admin, 'GET', path)).answer.attempts
  return (await until('an attempt', async () => (await attempts())[0])).eventId ?? ''
}

/** All of /v1 that the server itself says it has: "get /v1/endpoints". */
async function allRoutes(): Promise<string[]> {
  const { answer } = await call<{ paths: Record<string, object> }>(admin, 'GET', '/openapi.json')
  const routes = Object.entries(answer.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  )
  return routes.filter((route) => route.includes(' /v1/'))
}

/** Ask a route for an endpoint, with what it needs to be answered well. */
function ask(token: string, route: string, endpoint: string, eventId: string) {
  const inPath: Readonly<Record<string, string>> = {
    endpoint,
    queue: `webhooks.${endpoint}`,
    exchange: 'events',
    policy: 'policy',
    id: '1',
    reply: `1.${'0'.repeat(32)}`,
  }
  const [method = '', path = ''] = route.split(' ')
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => inPath[name] ?? assert.fail(`no ${name} is known`))
  const body = route.endsWith('/resend') ? { eventId } : {}
  return call(token, method.toUpperCase(), filled, method === 'get' ? undefined : body)
}

/** What subscribers may do. A route that is new is not here, and so must be refused. */
const opened = [
  'get /v1/endpoints',
  'get /v1/endpoints/{endpoint}',
  'get /v1/endpoints/{endpoint}/attempts',
  'get /v1/endpoints/{endpoint}/statistics',
  'post /v1/endpoints/{endpoint}/disable',
  'post /v1/endpoints/{endpoint}/enable',
  'post /v1/endpoints/{endpoint}/recover',
  'post /v1/endpoints/{endpoint}/resend',
  'post /v1/endpoints/{endpoint}/secret/rotate',
  'post /v1/endpoints/{endpoint}/test',
]

describe('of all routes', () => {
  test('a token for a portal opens those for subscribers; to the others its scope is missing', async () => {
    const mine = await newEndpoint('acme')
    const eventId = await eventFor(mine)
    const routes = await allRoutes()

    const answers = await Promise.all(routes.map((route) => ask(acme, route, mine, eventId)))

    assert.ok(routes.length > 40)
    assert.deepEqual(routes.filter((_, index) => (answers[index]?.status ?? 500) < 300).sort(), opened)
    for (const { status, text } of answers.filter(({ status }) => status >= 300)) {
      assert.equal(status, 403)
      assert.match(text, /"code":"scope_missing"/)
    }
  })

  test('those that name an endpoint answer for what is of others as for what does not exist, and change nothing', async () => {
    const eventId = await eventFor(await newEndpoint('acme'))
    const others = [await newEndpoint('acme2'), await newEndpoint()]
    const infos = () => Promise.all(others.map((name) => call(admin, 'GET', `/v1/endpoints/${name}`)))
    const before = await infos()
    for (const route of opened.filter((route) => route.includes('{endpoint}'))) {
      for (const name of [...others, 'unknown']) {
        const { status, text } = await ask(acme, route, name, eventId)
        const { requestId, ...problem } = JSON.parse(text) as Problem
        const expected = { type: 'about:blank', title: 'endpoint not found', status: 404, code: 'endpoint_not_found' }
        assert.equal(status, 404)
        assert.deepEqual(problem, { ...expected, detail: `endpoint "${name}" does not exist` }, requestId)
      }
    }
    assert.deepEqual(await infos(), before)
  })

  test('those that name an endpoint say of others not even what is wrong with the request', async () => {
    for (const name of [await newEndpoint('acme2'), 'unknown']) {
      for (const [method, path, body] of [
        ['GET', '/attempts?max=none', undefined],
        ['POST', '/resend', { wrong: 1 }],
      ] as const) {
        const { answer } = await call(acme, method, `/v1/endpoints/${name}${path}`, body)
        assert.equal(answer.code, 'endpoint_not_found')
      }
    }
  })

  test('none shows what the operator has noted, or what is of others', async () => {
    const [mine, other] = [await newEndpoint('acme'), await newEndpoint('acme2')]
    const eventId = await eventFor(mine)
    for (const route of opened) {
      const { text } = await ask(acme, route, mine, eventId)
      for (const hidden of ['internal', 'Bearer hidden', `"${other}"`, 'acme2'])
        assert.ok(!text.includes(hidden), `${route}: ${text}`)
    }
  })
})

describe('a subscriber', () => {
  test('sees its own endpoints, whatever application is asked for, a page at a time', async () => {
    const [one, , two] = [await newEndpoint('ours'), await newEndpoint('theirs'), await newEndpoint('ours')]
    const ours = await portal('ours')
    const list = async (token: string, query: string) => {
      const { answer } = await call<EndpointListResponse>(token, 'GET', `/v1/endpoints${query}`)
      return { names: answer.endpoints.map(({ name }) => name), next: answer.next }
    }

    for (const query of ['', '?application=theirs']) {
      assert.deepEqual((await list(ours, query)).names, [one, two])
    }
    const { names, next } = await list(ours, '?max=1')
    assert.deepEqual(names, [one])
    assert.deepEqual((await list(ours, `?after=${next}`)).names, [two])
    assert.deepEqual((await list(await portal('nobody'), '')).names, [])
  })

  test('may send again what went to the endpoint before, and nothing else', async () => {
    const [mine, also, other] = [await newEndpoint('acme'), await newEndpoint('acme'), await newEndpoint('acme2')]
    const [event, elsewhere, foreign] = [await eventFor(mine), await eventFor(also), await eventFor(other)]
    const resend = (token: string, eventId: string) => call(token, 'POST', `/v1/endpoints/${mine}/resend`, { eventId })

    assert.equal((await resend(acme, event)).status, 201)
    for (const eventId of [elsewhere, foreign, 'evt_999999999999']) {
      const { status, answer } = await resend(acme, eventId)
      assert.equal(status, 404)
      assert.equal(
        answer.detail,
        (await resend(admin, 'evt_999999999999')).answer.detail.replace('evt_999999999999', eventId),
      )
    }
    // What its operator has sent there is the endpoint's, too.
    await resend(admin, elsewhere)
    assert.equal((await resend(acme, elsewhere)).status, 201)
  })

  test('gets a new secret, switches an endpoint off and on, and keeps what the operator has paused paused', async () => {
    const mine = await newEndpoint('acme')
    const post = async (token: string, verb: string) =>
      (await call<EndpointInfo>(token, 'POST', `/v1/endpoints/${mine}/${verb}`)).answer

    const [first, second] = [await post(acme, 'secret/rotate'), await post(acme, 'secret/rotate')]
    assert.match(first.secret ?? '', /^whsec_/)
    assert.notEqual(first.secret, second.secret)

    assert.equal((await post(acme, 'disable')).state, 'disabled')
    assert.equal((await post(acme, 'enable')).state, 'enabled')
    await post(admin, 'pause')
    assert.equal((await post(acme, 'enable')).state, 'paused')
  })

  test('of an application with any name has it percent-encoded', async () => {
    const application = 'Müller & Söhne (*) 100%'
    const mine = await newEndpoint(application)
    const token = await portal(encodeURIComponent(application).replaceAll('*', '%2A'))

    const { status } = await call(token, 'GET', `/v1/endpoints/${mine}`)

    assert.equal(status, 200)
  })
})
