/* Any definitions: what is translated is never refused, and each queue has in the database what a model of RabbitMQ says it had. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { importDefinitions } from '../../../src/exchange/import-definitions.ts'
import { ImportRequest } from '../../../src/http/import-schemas.ts'
import { createDatabase } from '../../support/database.ts'
import { read } from './read.ts'

type Words = Readonly<Record<string, unknown>>

interface Queue {
  readonly name: string
  readonly durable: boolean
  readonly arguments: Words
}

interface Policy {
  readonly name: string
  readonly pattern: string
  readonly priority: number
  readonly 'apply-to': string
  readonly definition: Words
}

const db = await createDatabase()

const words = fc.record(
  {
    'message-ttl': fc.integer({ min: 1, max: 3 }).map((seconds) => seconds * 1000),
    'max-length': fc.integer({ min: 1, max: 3 }),
    overflow: fc.constantFrom('drop-head', 'reject-publish'),
    'delivery-limit': fc.integer({ min: 0, max: 3 }),
    'dead-letter-exchange': fc.constantFrom('', 'x', 'amq.topic'),
    'dead-letter-routing-key': fc.constantFrom('a.a', 'b', 'k'),
    'ha-mode': fc.constant('all'),
  },
  { requiredKeys: [] },
)

const withX = (given: Words) => Object.fromEntries(Object.entries(given).map(([name, value]) => [`x-${name}`, value]))

const queues = fc.uniqueArray(
  fc
    .tuple(fc.constantFrom('a.a', 'a.b', 'b', 'b.a', 'ab'), fc.boolean(), fc.constantFrom('classic', 'quorum'), words)
    .map(([name, isDurable, type, given]): Queue => {
      const { 'dead-letter-routing-key': key, ...others } = given
      // RabbitMQ refuses a routing key alone.
      const meant =
        others['dead-letter-exchange'] === undefined
          ? others
          : { ...others, ...(key && { 'dead-letter-routing-key': key }) }
      return { name, durable: type === 'quorum' || isDurable, arguments: { ...withX(meant), 'x-queue-type': type } }
    }),
  { selector: ({ name }) => name, maxLength: 5 },
)

/** No two have the same priority: RabbitMQ does not say which one it takes then. */
const policies = (prefix: string) =>
  fc
    .uniqueArray(
      fc.record({
        pattern: fc.constantFrom('.*', '^a', '^a\\.', 'b', '\\.a$', '^a\\.b$', '^b'),
        priority: fc.integer({ min: 0, max: 9 }),
        'apply-to': fc.constantFrom('all', 'queues', 'classic_queues', 'quorum_queues', 'exchanges'),
        definition: words,
      }),
      { selector: ({ priority }) => priority, maxLength: 4 },
    )
    .map((all) => all.map((policy, index): Policy => ({ name: `${prefix}${index}`, ...policy })))

const lowest = (...values: unknown[]) => {
  const numbers = values.filter((value) => typeof value === 'number')
  return numbers.length === 0 ? null : Math.min(...numbers)
}

/** What RabbitMQ makes of a queue, in Postbag's terms. */
function modelled(
  { name, arguments: given }: Queue,
  all: readonly Policy[],
  operators: readonly Policy[],
  names: readonly string[],
) {
  const type = String(given['x-queue-type'])
  const chosen = (from: readonly Policy[]): Words =>
    from
      .filter((policy) => ['all', 'queues', `${type}_queues`].includes(policy['apply-to']))
      .filter(({ pattern }) => new RegExp(pattern).test(name))
      .toSorted((one, other) => other.priority - one.priority)[0]?.definition ?? {}
  const [byPolicy, byOperator] = [chosen(all), chosen(operators)]
  const said = (word: string) => given[`x-${word}`] ?? byOperator[word] ?? byPolicy[word]
  // Of a quorum queue, policies come first: rabbit_quorum_queue.erl.
  const overflow = (type === 'quorum' && (byOperator['overflow'] ?? byPolicy['overflow'])) || said('overflow')
  const limit = (word: string) => lowest(given[`x-${word}`], byOperator[word], byPolicy[word])

  const [ttl, length, returns] = [limit('message-ttl'), limit('max-length'), limit('delivery-limit')]
  const [exchange, key] = [said('dead-letter-exchange'), said('dead-letter-routing-key')]
  const toQueue = exchange === '' && names.includes(String(key))
  return {
    ttl: ttl === null ? null : ttl / 1000,
    maxMessages: length,
    // (Only of interest where there is a limit.)
    overflow: length === null ? null : overflow === 'reject-publish' ? 'reject' : 'drop-oldest',
    maxAttempts: type === 'classic' ? null : returns === null ? 21 : returns + 1,
    deadLetterQueue: toQueue ? key : null,
    deadLetterExchange: exchange === undefined || toQueue ? null : exchange === '' ? 'default' : exchange,
    deadLetterRoutingKey: exchange === undefined || toQueue ? null : (key ?? null),
  }
}

test('any queues under any policies are in the database what they were in RabbitMQ', async () => {
  await fc.assert(
    fc.asyncProperty(queues, policies('p'), policies('o'), async (given, all, operators) => {
      const definitions = {
        rabbitmq_version: '4.1.0',
        queues: given,
        exchanges: [{ name: 'x', type: 'topic' }],
        bindings: given.map(({ name }) => ({
          source: 'x',
          destination: name,
          destination_type: 'queue',
          routing_key: '#',
        })),
        policies: all,
        parameters: operators.map(({ name, ...value }) => ({ component: 'operator_policy', name, value })),
      }
      const { definitions: translated } = read(definitions)
      ImportRequest.parse(translated)
      const session = await db.connect()
      await session.query('begin')

      await importDefinitions(session, translated)

      const { rows } = await session.query('select * from postbag.queue_info')
      await session.query('rollback')
      await session.end()
      const names = given.map(({ name }) => name)
      const had = Object.fromEntries(given.map((queue) => [queue.name, modelled(queue, all, operators, names)]))
      const has = rows.map((row) => [
        row.name,
        {
          ttl: row.ttl_seconds === null ? null : Number(row.ttl_seconds),
          maxMessages: row.max_messages === null ? null : Number(row.max_messages),
          overflow: row.max_messages === null ? null : row.overflow,
          maxAttempts: row.max_attempts,
          deadLetterQueue: row.dead_letter_queue,
          deadLetterExchange: row.dead_letter_exchange,
          deadLetterRoutingKey: row.dead_letter_routing_key,
        },
      ])
      assert.deepEqual(Object.fromEntries(has), had)
    }),
    { numRuns: 100 },
  )
})
