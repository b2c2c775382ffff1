/* What endpoints of webhooks were and are to get: attempts, statistics, a test event, resend, recover. */
import assert from 'node:assert/strict'
import { assertProblem, type Case } from './target.ts'
import { newEndpoint } from './test-endpoint.ts'

export const deliveryCases: readonly Case[] = [
  {
    claim: 'a test event goes to its endpoint alone, whatever that one wants, and can be sent again',
    async run(target) {
      const endpoint = await newEndpoint(target, { eventTypes: ['nothing'], filter: { headers: { a: 'b' } } })

      const { id, eventId } = await endpoint.test()
      await endpoint.attempted(1)
      const again = await endpoint.resend(eventId)
      const [second, first] = await endpoint.attempted(2)

      assert.notEqual(again.id, id)
      assert.deepEqual([first?.id, first?.type, first?.eventId], [id, 'test', eventId])
      assert.deepEqual([second?.id, second?.type, second?.eventId], [again.id, 'test', eventId])
      const bodies = endpoint.got().map(({ body, headers }) => [headers['webhook-id'], JSON.parse(body)])
      const { timestamp } = bodies[0]?.[1] ?? {}
      assert.ok(Number.isFinite(Date.parse(timestamp)))
      const event = { type: 'test', timestamp, data: { endpoint: endpoint.name } }
      assert.deepEqual(bodies, [
        [eventId, event],
        [eventId, event],
      ])
      const refused = await endpoint.post('resend', { body: { eventId: 'evt_999999999999999' } })
      assertProblem(refused, 'event_not_found', /^event evt_999999999999999 does not exist, or is not kept any more$/)
    },
  },
  {
    claim: 'deliveries that failed for good are counted, and recovered by condition',
    async run(target) {
      const endpoint = await newEndpoint(target, { retriesSeconds: [] }, 503)
      for (const body of [1, 2]) await endpoint.exchange.publish({ body, routingKey: 'a' })
      await endpoint.attempted(2)
      await endpoint.post('pause')

      assert.equal((await endpoint.statistics()).dead, 2)
      assert.deepEqual(await endpoint.recover({ errorContains: 'timeout' }), { redrivenMessages: 0 })
      assert.deepEqual(await endpoint.recover({ dryRun: true }), { redrivenMessages: 2 })
      assert.equal((await endpoint.recover({ errorContains: '503', maxAgeSeconds: 600, max: 1 })).redrivenMessages, 1)

      const { waiting, dead, attempts, successRate } = await endpoint.statistics()
      assert.deepEqual([waiting, dead, attempts, successRate], [1, 1, 2, 0])
    },
  },
  {
    claim: 'attempts are listed, the newest first, and summed up',
    async run(target) {
      const endpoint = await newEndpoint(target, { retriesSeconds: [0] }, 503)
      await endpoint.exchange.publish({ body: 1, routingKey: 'order.created', type: 'order.created' })
      await endpoint.attempted(2)
      await endpoint.put({ ...endpoint.least, url: `${target.receiver.url}/${endpoint.name}/200` })
      await endpoint.recover()

      const attempts = await endpoint.attempted(3)

      const told = attempts.map(({ id, eventId, type, number, outcome, status, error }) => {
        assert.deepEqual([id, eventId, type], [attempts[0]?.id, attempts[0]?.eventId, 'order.created'])
        return [number, outcome, status, error]
      })
      assert.deepEqual(told, [
        [1, 'delivered', 200, undefined],
        [2, 'failed', 503, 'status'],
        [1, 'failed', 503, 'status'],
      ])
      assert.deepEqual([attempts[0]?.responseHeaders?.['x-receiver'], attempts[0]?.responseBody], ['ours', 'thanks'])
      const page = await endpoint.attempts('?outcome=failed&max=1')
      const older = await endpoint.attempts(`?outcome=failed&max=1&before=${page.next}`)
      assert.deepEqual([...page.attempts, ...older.attempts], attempts.slice(1))
      assert.equal((await endpoint.attempts(`?id=${attempts[0]?.id}`)).attempts.length, 3)
      assert.deepEqual(await endpoint.attempts('?id=1'), { attempts: [] })
      const { successRate, p50Millis = -1, p95Millis = -1, attempts: counted, waiting } = await endpoint.statistics()
      assert.deepEqual([successRate, counted, waiting], [1 / 3, 3, 0])
      assert.ok(p50Millis >= 0 && p95Millis >= p50Millis)
    },
  },
]
