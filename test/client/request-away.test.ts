/* request and fetchReply while the server is away: asked again until the time is over, and no longer. Time passes only when the server
 * takes it, or somebody sleeps. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClientOptions, createClient, type Queue, type QueueError } from '../../src/client/index.ts'
import { cut, json, problem, type Reply, type ScriptedServer, serve } from './scripted-server.ts'

const asked = { id: '7.secret', messageId: '1' }
const replied = json({ ...asked, reply: { encoding: 'json', body: 'answer', headers: {}, repliedAt: '2026-01-01' } })

test('a server that is away from the first wait on is asked again until it is back, and the request is one', async (t) => {
  const server = await serve(t, { queue: [...Array(9).fill(cut), replied] })

  const reply = await patient(server).queue.request('?', { timeoutSeconds: 60 })

  assert.deepEqual([reply.id, reply.body], [asked.id, 'answer'])
  const ids = server.seen('queue').map(({ body }) => body.dedupId)
  assert.equal(ids.length, 10)
  assert.ok(ids[0])
  assert.equal(new Set(ids).size, 1)
})

test('a server that is away until the time is over, before it told an id, is told with the dedup id', async (t) => {
  const server = await serve(t, { queue: Array(99).fill(cut) })
  const { queue, clock } = patient(server)

  const error = await queue.request('?', { timeoutSeconds: 60 }).catch((error: unknown) => error as QueueError)

  assert.equal((error as QueueError).code, 'network_error')
  const { dedupId, cause } = (error as QueueError).cause as { dedupId: string; cause: unknown }
  assert.equal(dedupId, server.seen('queue')[0]?.body.dedupId)
  assert.ok(cause instanceof TypeError)
  assert.equal(clock.milliseconds, 60_000)
})

test('a request is not sent again when the server may have forgotten its dedup id', async (t) => {
  const server = await serve(t, { queue: Array(999).fill(cut) })
  const { queue, clock } = patient(server)

  await assert.rejects(queue.request('?', { timeoutSeconds: 604_800 }), { code: 'network_error' })

  assert.ok(clock.milliseconds >= 240_000 && clock.milliseconds < 250_000, `${clock.milliseconds}`)
})

test('a request without a dedup id of the client is sent once', async (t) => {
  const server = await serve(t, { queue: [cut, replied] })

  await assert.rejects(patient(server, { retries: 0 }).queue.request('?', { timeoutSeconds: 60 }), {
    code: 'network_error',
  })

  assert.equal(server.seen('queue').length, 1)
})

test('what will not pass is thrown as the server said it', async (t) => {
  const server = await serve(t, { queue: [cut, problem('queue_not_found')] })

  const error = await patient(server)
    .queue.request('?')
    .catch((error: unknown) => error as QueueError)

  assert.deepEqual(
    [(error as QueueError).code, ((error as QueueError).cause as QueueError).code],
    Array(2).fill('queue_not_found'),
  )
})

for (const verb of ['request', 'fetchReply'] as const) {
  test(`each try of a ${verb} waits for what is left of the time`, async (t) => {
    const waits: number[] = []
    const { queue, clock } = patient(await serve(t, { queue: Array(9).fill(cutAfter(1900)) }), { random: () => 0 })
    function cutAfter(milliseconds: number): Reply {
      return (response, request) => {
        waits.push(request.body?.waitSeconds ?? Number(/waitSeconds=(.*)/.exec(request.path)?.[1]))
        clock.milliseconds += milliseconds
        cut(response, request)
      }
    }

    await assert.rejects(queue[verb]('7.secret', { timeoutSeconds: 2 }), { code: 'network_error' })

    assert.deepEqual(waits, [2, 0.1])
  })
}

test('a try takes no longer than the client lets it, besides what is left of the time', async (t) => {
  const limits: number[] = []
  const { queue, clock } = patient(await serve(t, {}), {
    timeoutSeconds: 1,
    random: () => 0,
    fetch: (_, init) =>
      new Promise((_, reject) => init.signal?.addEventListener('abort', () => reject(init.signal?.reason))),
    sleep: async (milliseconds) => {
      clock.milliseconds += milliseconds
      limits.push(milliseconds)
    },
  })

  await assert.rejects(queue.fetchReply('7.secret', { timeoutSeconds: 1 }), { code: 'network_error' })

  assert.equal(clock.milliseconds, 2000)
  assert.deepEqual(limits, [2000, 0])
})

/** A client whose sleeps take no time but on its clock; time limits of tries never end. */
function patient(server: ScriptedServer, options: Partial<ClientOptions> = {}): { queue: Queue; clock: Clock } {
  const clock = { milliseconds: 0 }
  const queue = createClient({
    url: server.url,
    timeoutSeconds: 3600,
    now: () => clock.milliseconds,
    sleep: async (milliseconds, signal) => {
      if (milliseconds >= 3_600_000) await new Promise((_, reject) => signal.addEventListener('abort', reject))
      clock.milliseconds += milliseconds
    },
    ...options,
  }).queue('orders')
  return { queue, clock }
}

interface Clock {
  milliseconds: number
}
