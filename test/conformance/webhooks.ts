/* Webhooks: what is published to an exchange arrives at its endpoints, however the platform delivers. */
import assert from 'node:assert/strict'
import type { DeliverRequest, DeliverResponse, EndpointConfig } from '../../src/wire.ts'
import { until } from '../support/until.ts'
import { type Receiver, startReceiver, verified } from '../webhooks/webhook-receiver.ts'
import { assertProblem, type Case, call, json, type Target, tokenFor } from './target.ts'
import { newEndpoint } from './test-endpoint.ts'

/** With an endpoint whose receiver answers these statuses, and then 200. */
async function withEndpoint(
  target: Target,
  statuses: number[],
  config: Partial<EndpointConfig>,
  work: (
    endpoint: Awaited<ReturnType<typeof newEndpoint>> & {
      /** What its receiver has got, once that is so much. */
      received(count: number): Promise<Receiver['got']>
      deliver(request?: DeliverRequest): Promise<DeliverResponse>
    },
  ) => Promise<void>,
): Promise<void> {
  const receiver = await startReceiver((_, response) => response.writeHead(statuses.shift() ?? 200).end())
  try {
    await work({
      ...(await newEndpoint(target, { url: receiver.url, ...config })),
      received: (count) =>
        until(`${count} requests`, async () => (receiver.got.length >= count ? receiver.got : undefined)),
      deliver: async (body = {}) => json(await call(target, 'POST', '/v1/deliver', { body })),
    })
  } finally {
    await receiver.stop()
  }
}

export const webhookCases: readonly Case[] = [
  {
    claim: 'an event that is published arrives at an endpoint, once, signed',
    run: (target) =>
      withEndpoint(target, [], {}, async ({ exchange, created, received, deliver }) => {
        json(await exchange.post({ body: { body: { id: 1 }, routingKey: 'order.created' } }), 201)
        const [request] = await received(1)

        assert.deepEqual(verified(created.secret, request), { id: 1 })
        assert.match(String(request?.headers['webhook-id']), /^evt_\d+$/)
        await deliver()
        assert.equal((await received(1)).length, 1)
      }),
  },
  {
    claim:
      'an event that its receiver refused comes again with the same id, by a clock that calls /v1/deliver if by nothing else',
    run: (target) =>
      withEndpoint(target, [500], { retriesSeconds: [1] }, async ({ exchange, received, deliver, attempts }) => {
        json(await exchange.post({ body: { body: 1, routingKey: 'a' } }), 201)
        await until('the first attempt to be noted', async () => (await attempts()).attempts[0])

        await deliver({ maxSeconds: 5, wait: true })

        const ids = (await received(2)).map(({ headers }) => headers['webhook-id'])
        assert.deepEqual([ids.length, new Set(ids).size], [2, 1])
      }),
  },
  {
    claim: 'an event that was published in SQL arrives by a clock, too',
    run: (target) =>
      withEndpoint(target, [], {}, async ({ exchange, received, deliver }) => {
        await target.database.pool.query(`select postbag.publish($1, '{"in": "SQL"}')`, [exchange.name])

        const { attempts } = await deliver()

        assert.ok(Number.isInteger(attempts))
        assert.deepEqual(
          (await received(1)).map(({ body }) => JSON.parse(body)),
          [{ in: 'SQL' }],
        )
      }),
  },
  {
    claim: 'an event is sent to its endpoint again when that is asked for',
    run: (target) =>
      withEndpoint(target, [], {}, async (endpoint) => {
        json(await endpoint.exchange.post({ body: { body: 1, routingKey: 'a' } }), 201)
        const [request] = await endpoint.received(1)
        const eventId = String(request?.headers['webhook-id'])

        await endpoint.resend(eventId)

        assert.deepEqual(
          (await endpoint.received(2)).map(({ headers }) => headers['webhook-id']),
          [eventId, eventId],
        )
      }),
  },
  {
    claim: 'who asks for deliveries is an admin, and says for how long in whole seconds up to 60',
    async run(target) {
      const refused = (body: object, token = target.token) => call(target, 'POST', '/v1/deliver', { body, token })

      for (const maxSeconds of [-1, 61, 1.5, '5']) {
        assertProblem(await refused({ maxSeconds }), 'request_invalid', /maxSeconds must be/)
      }
      assertProblem(await refused({ seconds: 1 }), 'request_invalid', /maxSeconds, wait/)
      assertProblem(await refused({}, await tokenFor(target, ['publish:*'])), 'scope_missing', /admin/)
    },
  },
]
