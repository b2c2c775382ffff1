/* Endpoints of webhooks: set, switched, listed, deleted; and that nobody is shown a secret. */
import assert from 'node:assert/strict'
import { createSecretBox } from '../../src/webhooks/secrets.ts'
import type { EndpointInfo, EndpointListResponse } from '../../src/wire.ts'
import { invalid } from './invalid-endpoints.ts'
import { assertProblem, type Call, type Case, call, json, type Target, tokenFor } from './target.ts'
import { endpointNamed, newEndpoint } from './test-endpoint.ts'

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const url = 'https://example.com/hook'

/** Every operation on one endpoint: [method, suffix, request, scope it needs]. */
const operations: readonly (readonly [string, string, Call, 'admin' | 'receive'])[] = [
  ['GET', '', {}, 'admin'],
  ['POST', '/enable', {}, 'admin'],
  ['POST', '/disable', {}, 'admin'],
  ['POST', '/pause', {}, 'admin'],
  ['POST', '/resume', {}, 'admin'],
  ['POST', '/secret/rotate', {}, 'admin'],
  ['GET', '/attempts', {}, 'receive'],
  ['GET', '/statistics', {}, 'receive'],
  ['POST', '/resend', { body: { eventId: 'evt_1' } }, 'admin'],
  ['POST', '/test', {}, 'admin'],
  ['POST', '/recover', {}, 'admin'],
  ['DELETE', '', {}, 'admin'],
]

/** What the row of an endpoint holds, opened: from inside, as who signs sees it. */
async function secretsOf(target: Target, { name }: { readonly name: string }): Promise<readonly string[]> {
  const { rows } = await target.database.pool.query<{ sealed: string }>(
    `select secret.value ->> 'sealed' as sealed
    from postbag.endpoint, jsonb_array_elements(secrets) with ordinality as secret (value, place)
    where name = $1 and coalesce((secret.value ->> 'until')::timestamptz, 'infinity') > now()
    order by secret.place`,
    [name],
  )
  const box = createSecretBox(target.webhooks.keys)
  return Promise.all(rows.map(({ sealed }) => box.open(sealed, name)))
}

export const endpointCases: readonly Case[] = [
  {
    claim:
      'an endpoint is created with 201, with defaults and a secret that is shown once; replaced with 200; and described',
    async run(target) {
      const endpoint = await newEndpoint(target)

      const { secret: made = '', createdAt, updatedAt, ...rest } = endpoint.created
      assert.deepEqual(rest, {
        name: endpoint.name,
        ...endpoint.least,
        eventTypes: ['#'],
        headers: {},
        metadata: {},
        timeoutSeconds: 15,
        retriesSeconds: [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400],
        concurrency: 10,
        order: 'none',
        state: 'enabled',
        breaker: 'closed',
        failures: 0,
      })
      assert.equal(createdAt, updatedAt)
      assert.match(made, /^whsec_[A-Za-z0-9+/]{43}=$/)
      assert.deepEqual(await secretsOf(target, endpoint), [made])

      const all = {
        ...endpoint.least,
        url: 'https://example.com:8443/new?a=b',
        eventTypes: ['order.*', 'a,"b'],
        application: 'acme-inc',
        filter: { headers: { tenant: 'acme' }, body: { paid: true, lines: [1] } },
        headers: { authorization: 'Bearer x' },
        description: 'of acme',
        metadata: { plan: 'pro' },
        timeoutSeconds: 7.5,
        retriesSeconds: [0.5, 60],
        ratePerSecond: 2.5,
        rateBurst: 10,
        concurrency: 3,
        order: 'endpoint',
      }
      const replaced = json<EndpointInfo>(await endpoint.put(all))
      const { createdAt: _, updatedAt: __, ...told } = replaced
      assert.deepEqual(told, { name: endpoint.name, ...all, state: 'enabled', breaker: 'closed', failures: 0 })
      assert.deepEqual(await endpoint.info(), replaced)
      assert.deepEqual(await secretsOf(target, endpoint), [made])
    },
  },
  {
    claim: "an endpoint's URL is stored as it is called, and its secret may be brought; then no answer has it",
    async run(target) {
      const endpoint = await newEndpoint(target, { url: 'https://EXAMPLE.com:443/Hook', secret })

      assert.equal(endpoint.created.url, 'https://example.com/Hook')
      assert.equal('secret' in endpoint.created, false)
      assert.deepEqual(await secretsOf(target, endpoint), [secret])
      const other = `whsk_${'A'.repeat(43)}=`
      assert.equal('secret' in json<EndpointInfo>(await endpoint.put({ ...endpoint.least, secret: other })), false)
      assert.deepEqual(await secretsOf(target, endpoint), [other])
    },
  },
  {
    claim:
      'a secret is rotated: the new one is shown once, and the one before it goes on signing for as long as is said',
    async run(target) {
      const endpoint = await newEndpoint(target)

      const second = json<EndpointInfo>(await endpoint.post('secret/rotate', { body: { overlapSeconds: 3600 } }))
      const third = json<EndpointInfo>(await endpoint.post('secret/rotate', { body: {} }))

      const known = [third.secret, second.secret, endpoint.created.secret]
      assert.equal(new Set(known).size, 3)
      assert.deepEqual(await secretsOf(target, endpoint), known)
      const brought = json<EndpointInfo>(await endpoint.post('secret/rotate', { body: { overlapSeconds: 0, secret } }))
      assert.equal('secret' in brought, false)
      assert.deepEqual(await secretsOf(target, endpoint), [secret])
    },
  },
  {
    claim: 'no answer shows a secret again, and no log and no row of the database has one',
    async run(target) {
      const endpoint = await newEndpoint(target)
      const { secret: made = '' } = endpoint.created

      const answers = [
        await endpoint.put(endpoint.least),
        await call(target, 'GET', endpoint.path),
        await call(target, 'GET', '/v1/endpoints?max=1000'),
        await endpoint.post('disable'),
        await endpoint.post('enable'),
        await endpoint.put({ ...endpoint.least, secret: made, url: 'ftp://x' }),
        await endpoint.put({ ...endpoint.least, secret: `${made}!` }),
        await endpoint.post('secret/rotate', { body: { secret: made, overlapSeconds: -1 } }),
      ]

      const { rows } = await target.database.pool.query('select * from postbag.endpoint where name = $1', [
        endpoint.name,
      ])
      const seen = [...answers.map(({ text }) => text), ...target.log, JSON.stringify(rows)].join('\n')
      assert.equal(seen.includes(made.slice(6, 30)), false)
    },
  },
  {
    claim: 'endpoints are listed by name, a page at a time, of one application or all',
    async run(target) {
      const first = await newEndpoint(target)
      const names = ['listed-a', 'listed-b', 'listed-c']
      for (const name of names) {
        json(await endpointNamed(target, name).put({ ...first.least, application: 'lists' }), 201)
      }
      const list = async (query: string) =>
        json<EndpointListResponse>(await call(target, 'GET', `/v1/endpoints?${query}`))

      const pages = [await list('application=lists&max=2'), await list('application=lists&max=2&after=listed-b')]

      const told = pages.map(({ endpoints, next }) => [endpoints.map(({ name }) => name), next])
      assert.deepEqual(told, [
        [['listed-a', 'listed-b'], 'listed-b'],
        [['listed-c'], undefined],
      ])
      assert.deepEqual(await list('application=nobody'), { endpoints: [] })
      assert.ok((await list('max=1000')).endpoints.some(({ name }) => name === first.name))
      assertProblem(await call(target, 'GET', '/v1/endpoints?prefix=a'), 'request_invalid', /unknown field prefix/)
    },
  },
  {
    claim:
      'an endpoint that is paused lets events wait, one that is disabled gets none, and both go on when they are told to',
    async run(target) {
      const endpoint = await newEndpoint(target)
      const event = { body: 1, routingKey: 'a' }
      const state = async (verb: string) => json<EndpointInfo>(await endpoint.post(verb)).state

      assert.equal(await state('pause'), 'paused')
      assert.deepEqual(await endpoint.exchange.publish(event), [1])
      assert.equal((await endpoint.statistics()).waiting, 1)
      assert.deepEqual(await endpoint.attempted(0), [])
      assert.equal(await state('resume'), 'enabled')
      assert.equal((await endpoint.attempted(1)).length, 1)

      const disabled = json<EndpointInfo>(await endpoint.post('disable'))
      assert.deepEqual([disabled.state, disabled.disabledBecause], ['disabled', 'asked'])
      assert.equal(new Date(disabled.disabledAt ?? '').toISOString(), disabled.disabledAt)
      assert.deepEqual(await endpoint.exchange.publish(event), [0])
      assert.equal(await state('enable'), 'enabled')
      assert.deepEqual(await endpoint.exchange.publish(event), [1])
    },
  },
  {
    claim: 'an endpoint that is deleted is gone with what waits for it',
    async run(target) {
      const endpoint = await newEndpoint(target)
      await endpoint.post('pause')
      await endpoint.exchange.publish({ body: 1, routingKey: 'a' })

      assert.deepEqual(json(await call(target, 'DELETE', endpoint.path)), { deletedDeliveries: 1 })

      assertProblem(await call(target, 'GET', endpoint.path), 'endpoint_not_found')
      assertProblem(await call(target, 'GET', endpoint.queue.path), 'queue_not_found')
    },
  },
  {
    claim: 'every operation on an endpoint that does not exist is endpoint_not_found',
    async run(target) {
      for (const [method, suffix, request] of operations) {
        const answer = await call(target, method, `/v1/endpoints/nobody${suffix}`, request)

        assertProblem(answer, 'endpoint_not_found', /^endpoint "nobody" does not exist$/)
      }
    },
  },
  {
    claim: 'an endpoint of an exchange that does not exist, or of a type it cannot have, is refused',
    async run(target) {
      const endpoint = endpointNamed(target, 'refused-exchange')
      json(await call(target, 'PUT', '/v1/exchanges/refused-hash', { body: { type: 'hash' } }), 201)

      assertProblem(await endpoint.put({ url, exchange: 'nowhere' }), 'exchange_not_found', /"nowhere" does not exist/)
      const hash = await endpoint.put({ url, exchange: 'refused-hash' })
      assertProblem(hash, 'request_invalid', /^exchange must be of type topic, direct or fanout, and "refused-hash" is/)
      assertProblem(await call(target, 'GET', endpoint.path), 'endpoint_not_found')
    },
  },
  {
    claim: 'what an endpoint cannot be or do is refused with the rule, and changes nothing',
    async run(target) {
      const { path, exchange, info } = await newEndpoint(target)
      const before = await info()

      for (const [method, suffix, given, detail] of invalid) {
        const body = suffix === '' ? { exchange: exchange.name, ...(given as object) } : (given as object | undefined)
        assertProblem(
          await call(target, method, path + suffix, body === undefined ? {} : { body }),
          'request_invalid',
          detail,
        )
      }

      assert.deepEqual(await info(), before)
      const name = await call(target, 'PUT', `/v1/endpoints/${'x'.repeat(72)}`, { body: before })
      assertProblem(name, 'request_invalid', /^endpoint must be 1 to 71 letters, digits/)
    },
  },
  {
    claim: 'endpoints are for admins; who may receive from the queue of one may see its attempts and statistics',
    async run(target) {
      const { path, name, least } = await newEndpoint(target)
      const reader = await tokenFor(target, [`receive:webhooks.${name}`, 'send:*', 'publish:*'])
      const other = await tokenFor(target, ['receive:webhooks.other', `receive:${name}`])

      for (const [method, suffix, request, needs] of operations) {
        const answers = [other, reader].map((token) => call(target, method, path + suffix, { ...request, token }))
        const [stranger, own] = await Promise.all(answers)
        if (stranger) assertProblem(stranger, 'scope_missing', needs === 'admin' ? /scope admin/ : /receive:webhooks\./)
        if (own && needs === 'admin') assertProblem(own, 'scope_missing', /scope admin/)
        else assert.equal(own?.status, 200)
      }
      for (const [method, of, body] of [
        ['PUT', path, least],
        ['GET', '/v1/endpoints', undefined],
      ] as const) {
        const answer = await call(target, method, of, { token: reader, ...(body && { body }) })
        assertProblem(answer, 'scope_missing', /scope admin/)
      }
    },
  },
]
