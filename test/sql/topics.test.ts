/* Topic patterns: by a table of what is written about them, and at random against a matcher that is slow and plain. The rules are those of
 * AMQP 0-9-1 (section 3.1.3.3) as RabbitMQ reads them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createDatabase } from '../support/database.ts'
import { bind, newExchange, route } from '../support/sql-exchanges.ts'
import { runsOf } from '../support/sql-property.ts'
import { newQueue } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** Words of a key or a pattern: an empty text has none. */
const wordsOf = (text: string) => (text === '' ? [] : text.split('.'))

function fits(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern
  if (first === undefined) return words.length === 0
  if (first === '#') return words.some((_, index) => fits(rest, words.slice(index))) || fits(rest, [])
  return words.length > 0 && (first === '*' || first === words[0]) && fits(rest, words.slice(1))
}

describe('a pattern', () => {
  const table: readonly (readonly [pattern: string, fitting: readonly string[], others: readonly string[]])[] = [
    [
      '*.orange.*',
      ['quick.orange.rabbit', 'lazy.orange.elephant'],
      ['quick.orange.male.rabbit', 'orange', 'quick.orange'],
    ],
    ['*.*.rabbit', ['quick.orange.rabbit', 'lazy.pink.rabbit'], ['quick.orange.male.rabbit', 'rabbit']],
    ['lazy.#', ['lazy', 'lazy.orange.elephant', 'lazy.orange.new.rabbit', 'lazy.'], ['quick.brown.fox', 'lazier', '']],
    ['#', ['', 'a', 'a.b.c', '..'], []],
    ['*', ['a', '*', '#'], ['', 'a.b', '.']],
    ['', [''], ['a', '.']],
    ['#.*', ['a', 'a.b', '.'], ['']],
    ['*.#', ['a', 'a.b.c'], ['']],
    ['#.#', ['', 'a', 'a.b'], []],
    ['a.#.b', ['a.b', 'a.x.b', 'a.x.y.b', 'a.b.b'], ['a', 'b', 'a.b.c', 'x.a.b']],
    ['#.a.#', ['a', 'x.a', 'a.x', 'x.a.y', 'a.a'], ['', 'x', 'ab']],
    ['a.*.#.*.b', ['a.x.y.b', 'a.x.y.z.b'], ['a.x.b', 'a.b']],
    ['a..b', ['a..b'], ['a.b', 'a.x.b']],
    ['.', ['.'], ['', 'a', '..']],
    ['*.', ['a.', '.'], ['a', 'a.b']],
    ['a.%_', ['a.%_'], ['a.xx', 'a.']],
    ['a.*b', ['a.*b'], ['a.xb']],
    ['Ä.ß', ['Ä.ß'], ['ä.ß']],
  ]
  for (const [pattern, fitting, others] of table) {
    test(`"${pattern}" fits what the rules say`, async () => {
      const [exchange, queue] = [await newExchange(pool, 'topic'), await newQueue(pool)]
      await bind(pool, exchange, { queue, routing_key: pattern })

      for (const key of fitting) assert.deepEqual(await route(pool, exchange, key), [queue], `fits "${key}"`)
      for (const key of others) assert.deepEqual(await route(pool, exchange, key), [], `does not fit "${key}"`)
    })
  }

  test('of 255 signs for any words ends in time', async () => {
    const [exchange, queue] = [await newExchange(pool, 'topic'), await newQueue(pool)]
    await bind(pool, exchange, { queue, routing_key: Array(127).fill('#').join('.') })

    assert.deepEqual(await route(pool, exchange, Array(127).fill('a').join('.')), [queue])
  })
})

test('they lead so if the name of the exchange brings a collation along, as names from the catalog do', async () => {
  const exchange = await newExchange(pool, 'topic')
  const queue = await newQueue(pool)
  await bind(pool, exchange, { queue, routing_key: '#.é.*' })

  const { rows } = await pool.query(
    `select count(way.queue_id)::integer as found from postbag.route($1::text collate "C", $2::jsonb) as way`,
    [exchange, JSON.stringify([{ routingKey: 'a.b.é.c' }])],
  )

  assert.deepEqual(rows, [{ found: 1 }])
})

test('patterns at random lead where a plain matcher says', async () => {
  const word = fc.constantFrom('a', 'b', 'ab', '', '*', '#')
  const text = fc.array(word, { maxLength: 5 }).map((words) => words.join('.'))
  const world = fc.record({
    patterns: fc.uniqueArray(text, { minLength: 1, maxLength: 8 }),
    keys: fc.uniqueArray(text, { minLength: 1, maxLength: 6 }),
  })

  await fc.assert(
    fc.asyncProperty(world, async ({ patterns, keys }) => {
      const exchange = await newExchange(pool, 'topic')
      const queues = new Map<string, string>()
      for (const pattern of patterns) {
        const queue = await newQueue(pool)
        queues.set(pattern, queue)
        await bind(pool, exchange, { queue, routing_key: pattern })
      }
      for (const key of keys) {
        const expected = patterns.filter((pattern) => fits(wordsOf(pattern), wordsOf(key)))
        assert.deepEqual(
          await route(pool, exchange, key),
          expected.map((pattern) => queues.get(pattern)),
          `"${key}" among ${JSON.stringify(patterns)}`,
        )
      }
    }),
    runsOf(60),
  )
})
