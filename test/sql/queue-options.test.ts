/* The options of a queue: their ranges, both ends of each, and how they come back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, call, newQueue, only } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()

const configure = async (queue: string, config: object) => only(await call(pool, 'create_queue', { queue, ...config }))

/** What is one too little or too much, and the rule that says so. */
const outOfRange: [option: string, values: unknown[], rule: string, more?: object][] = [
  ['delivery_order', ['random', 'FIFO', ''], 'queue_order_is_fifo_or_lifo'],
  ['group_mode', ['unordered'], 'queue_groups_are_ordered_or_fair'],
  ['ttl', ['0 s', '0.999 ms', '-1 s', '31536000.001 s'], 'queue_ttl_is_a_millisecond_to_a_year'],
  ['max_attempts', [0, -1, 1001], 'queue_max_attempts_is_1_to_1000'],
  ['retry_delay', ['-1 ms', '31536000.001 s'], 'queue_retry_delay_is_at_most_a_year'],
  ['retry_backoff', ['linear'], 'queue_retry_backoff_is_fixed_or_exponential'],
  ['retry_max_delay', ['-1 ms', '31536000.001 s'], 'queue_retry_max_delay_is_at_most_a_year'],
  ['retry_jitter', [-0.001, 1.001, 'NaN'], 'queue_retry_jitter_is_0_to_1'],
  ['dead_letter_retention', ['0.999 s', '31536000.001 s'], 'queue_dead_letter_retention_is_a_second_to_a_year'],
  ['dedup_by', ['body'], 'queue_dedup_by_is_id_or_content'],
  ['dedup_scope', ['all'], 'queue_dedup_scope_is_queue_or_group'],
  ['max_messages', [0, -1, 1_000_000_001], 'queue_max_messages_is_1_to_1000000000'],
  ['max_bytes', [0, '1125899906842625'], 'queue_max_bytes_is_1_to_1125899906842624'],
  ['overflow', ['drop-newest'], 'queue_overflow_is_reject_or_drop_oldest'],
  ['max_in_flight', [0, 100_001], 'queue_max_in_flight_is_1_to_100000'],
  ['rate', [0, 0.0009, 1_000_000.1, 'NaN', 'Infinity'], 'queue_rate_is_a_thousandth_to_a_million'],
  ['burst', [0, 1_000_001], 'queue_rate_burst_is_1_to_1000000', { rate: 1 }],
  ['burst', [1], 'queue_rate_burst_needs_a_rate'],
  ['group_rate', [0, 0.0009, 1_000_000.1], 'queue_group_rate_is_a_thousandth_to_a_million'],
  ['group_burst', [0, 1_000_001], 'queue_group_rate_burst_is_1_to_1000000', { group_rate: 1 }],
  ['group_burst', [1], 'queue_group_rate_burst_needs_a_group_rate', { rate: 1 }],
  ['durability', ['none'], 'queue_durability_is_full_relaxed_or_volatile'],
]

for (const [option, values, constraint, more] of outOfRange) {
  test(`a queue is refused with ${option} ${values.join(', ')} (${constraint}), and keeps its configuration`, async () => {
    const queue = await newQueue(pool, { lease: '5 s' })

    for (const value of values)
      await assert.rejects(configure(queue, { ...more, [option]: value }), { code: '23514', constraint }, `${value}`)

    assert.equal(only(await call(pool, 'describe_queue', { queue }))['lease_seconds'], 5)
  })
}

const ends: [option: string, values: [given: unknown, column: string, comesBack: unknown][], more?: object][] = [
  [
    'delivery_order',
    [
      ['fifo', 'delivery_order', 'fifo'],
      ['lifo', 'delivery_order', 'lifo'],
    ],
  ],
  [
    'group_mode',
    [
      ['ordered', 'group_mode', 'ordered'],
      ['fair', 'group_mode', 'fair'],
    ],
  ],
  [
    'ttl',
    [
      ['1 ms', 'ttl_seconds', 0.001],
      ['31536000 s', 'ttl_seconds', 31_536_000],
      [null, 'ttl_seconds', null],
    ],
  ],
  [
    'max_attempts',
    [
      [1, 'max_attempts', 1],
      [1000, 'max_attempts', 1000],
      [null, 'max_attempts', null],
    ],
  ],
  [
    'retry_delay',
    [
      ['0 s', 'retry_delay_seconds', 0],
      ['31536000 s', 'retry_delay_seconds', 31_536_000],
    ],
  ],
  [
    'retry_backoff',
    [
      ['fixed', 'retry_backoff', 'fixed'],
      ['exponential', 'retry_backoff', 'exponential'],
    ],
  ],
  [
    'retry_max_delay',
    [
      ['0 s', 'retry_max_delay_seconds', 0],
      ['31536000 s', 'retry_max_delay_seconds', 31_536_000],
    ],
  ],
  [
    'retry_jitter',
    [
      [0, 'retry_jitter', 0],
      [1, 'retry_jitter', 1],
    ],
  ],
  [
    'dead_letter_retention',
    [
      ['1 s', 'dead_letter_retention_seconds', 1],
      ['31536000 s', 'dead_letter_retention_seconds', 31_536_000],
    ],
  ],
  [
    'dedup_by',
    [
      ['id', 'dedup_by', 'id'],
      ['content', 'dedup_by', 'content'],
    ],
  ],
  [
    'dedup_scope',
    [
      ['queue', 'dedup_scope', 'queue'],
      ['group', 'dedup_scope', 'group'],
    ],
  ],
  [
    'max_messages',
    [
      [1, 'max_messages', '1'],
      [1_000_000_000, 'max_messages', '1000000000'],
      [null, 'max_messages', null],
    ],
  ],
  [
    'max_bytes',
    [
      [1, 'max_bytes', '1'],
      ['1125899906842624', 'max_bytes', '1125899906842624'],
    ],
  ],
  [
    'overflow',
    [
      ['reject', 'overflow', 'reject'],
      ['drop-oldest', 'overflow', 'drop-oldest'],
    ],
  ],
  [
    'max_in_flight',
    [
      [1, 'max_in_flight', 1],
      [100_000, 'max_in_flight', 100_000],
      [null, 'max_in_flight', null],
    ],
  ],
  [
    'rate',
    [
      [0.001, 'rate', 0.001],
      [1_000_000, 'rate', 1_000_000],
      [null, 'rate', null],
    ],
  ],
  [
    'burst',
    [
      [1, 'burst', 1],
      [1_000_000, 'burst', 1_000_000],
      [null, 'burst', null],
    ],
    { rate: 1 },
  ],
  [
    'group_rate',
    [
      [0.001, 'group_rate', 0.001],
      [1_000_000, 'group_rate', 1_000_000],
    ],
  ],
  [
    'group_burst',
    [
      [1, 'group_burst', 1],
      [1_000_000, 'group_burst', 1_000_000],
    ],
    { group_rate: 1 },
  ],
  [
    'durability',
    [
      ['full', 'durability', 'full'],
      ['relaxed', 'durability', 'relaxed'],
    ],
  ],
]

for (const [option, values, more] of ends) {
  test(`a queue has ${option} ${values.map(([given]) => given).join(', ')} as it was given`, async () => {
    const queue = await newQueue(pool)

    const found = []
    for (const [given, column] of values) found.push((await configure(queue, { ...more, [option]: given }))[column])

    assert.deepEqual(
      found,
      values.map(([, , comesBack]) => comesBack),
    )
  })
}

/** Those that are something in every queue. */
const always = [
  'lease',
  'delay',
  'max_priority',
  'dedup_window',
  'delivery_order',
  'group_mode',
  'retry_delay',
  'retry_backoff',
  'retry_max_delay',
  'retry_jitter',
  'dead_letter_retention',
  'dedup_by',
  'dedup_scope',
  'overflow',
  'durability',
]

for (const option of always) {
  test(`a queue whose ${option} is null has the default, and none of it is refused`, async () => {
    const now = at(0)
    const plain = await configure(`plain-${option}`, { now })

    const given = await configure(`null-${option}`, { [option]: null, now })

    assert.deepEqual({ ...given, name: plain['name'] }, plain)
    await assert.rejects(configure('nothing', { without: [option] }), {
      code: 'PB002',
      message: new RegExp(`^without must name some of burst, dead_letter_exchange, .*, got '${option}'$`),
    })
  })
}

test('a queue may be its own dead-letter queue from the start, and name one that is there', async () => {
  const [own, other] = [
    await configure('own', { dead_letter_queue: 'own' }),
    await configure('other', { dead_letter_queue: 'own' }),
  ]

  assert.deepEqual([own['dead_letter_queue'], other['dead_letter_queue']], ['own', 'own'])
})
