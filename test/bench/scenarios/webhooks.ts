/* Webhooks: how fast what was published is delivered, by one deliverer in this process, to a receiver in this process; and what an endpoint that
 * answers nothing does to the others. The time is from the first claim to the last answer. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createDeliverer } from '../../../src/webhooks/deliverer.ts'
import { createTransport } from '../../../src/webhooks/node/transport.ts'
import type { Bench, Database } from '../bench.ts'
import { latencies, type Measured, median } from '../measure.ts'

export const title = 'Webhooks'
export const measures =
  'Deliveries per second of one deliverer with 256 slots, receiver in the same process; statements are those of the deliverer. Publishing is not in it.'

const secrets = JSON.stringify([{ sealed: `whsec_${Buffer.alloc(32, 1).toString('base64')}` }])

export async function run(bench: Bench): Promise<void> {
  const receiver = createServer((request, response) => {
    // (Dead: it takes the connection, and says nothing.)
    if (request.url === '/dead') return
    request.resume().on('end', () => response.end())
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  try {
    const runners = [
      await deliveries(bench, receiver, '1,000 events, 10 endpoints', 1000, 10, 0),
      await deliveries(bench, receiver, '1 event, 10,000 endpoints', 1, 10_000, 0),
      await deliveries(bench, receiver, '1,000 events, 10 endpoints, and one that never answers', 1000, 10, 1),
    ]
    await bench.inTurn('events to endpoints', runners, 'deliveries/s')
    for (const { name, shares } of runners) {
      bench.note({ part: 'statements of the deliverer', contender: name, values: shares, unit: 'per delivery' })
      bench.mustHold(`statements per delivery, ${name}`, 'below', 0.2, median(shares))
    }
  } finally {
    receiver.closeAllConnections()
    receiver.close()
  }
}

async function deliveries(
  bench: Bench,
  receiver: Server,
  name: string,
  events: number,
  endpoints: number,
  dead: number,
) {
  const counts = { events: bench.count(events), endpoints: bench.count(endpoints) }
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const database = await bench.database(`webhooks_${name.replaceAll(/\W+/g, '_')}`, async ({ pool }) => {
    await pool.query(`select postbag.declare_exchange('events', type => 'fanout')`)
    for (const [kind, count] of [
      ['', counts.endpoints],
      ['dead', dead],
    ] as const) {
      await pool.query(
        `select count(made.name) from generate_series(1, $1::int) as n,
          lateral postbag.set_endpoint('e' || $2 || n, $3, 'events', concurrency => 1000, secrets => $4) as made`,
        [count, kind, `${url}/${kind}`, secrets],
      )
    }
  })
  const shares: number[] = []
  return {
    name,
    shares,
    measure: () => measureDeliveries(database, counts.events, counts.events * counts.endpoints, shares),
  }
}

/** @param shares statements per delivery are noted there, one for each round */
async function measureDeliveries(
  { pool }: Database,
  events: number,
  expected: number,
  shares: number[],
): Promise<Measured> {
  await pool.query(
    `select count(postbag.publish('events', '{"text": "hello"}', type => 'greeting')) from generate_series(1, $1::int)`,
    [events],
  )
  let statements = 0
  const executor = {
    query(text: string, values: unknown[]) {
      statements++
      return pool.query(text, values)
    },
  }
  const transport = createTransport({ maxAttemptsPerHost: 256 })
  const millis: number[] = []
  const done = new AbortController()
  const deliverer = createDeliverer({
    executor,
    open: async (sealed) => sealed,
    policy: { allowPrivate: true, allowHttp: true },
    async attempt(request) {
      const outcome = await transport.attempt(request)
      if (outcome.kind === 'answered' && millis.push(outcome.millis) === expected) done.abort()
      return outcome
    },
  })
  const started = performance.now()
  let elapsed = 0
  done.signal.addEventListener('abort', () => {
    elapsed = (performance.now() - started) / 1000
  })
  await deliverer.run(done.signal)
  transport.close()
  shares.push(statements / expected)
  // What never answers must not wait for the next round.
  await pool.query(`select count(postbag.purge('webhooks.' || name)) from postbag.endpoint`)
  return { rate: expected / elapsed, ...latencies(millis), perSecond: [] }
}
