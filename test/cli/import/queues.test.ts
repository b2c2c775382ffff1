/* What RabbitMQ's queues and their arguments become, and what is said of those that become nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { read, said } from './read.ts'

/** The one queue q of definitions in which it has these arguments. */
function queueWith(given: object, more: object = {}) {
  const translation = read({ queues: [{ name: 'q', arguments: given, ...more }, { name: 'other' }] })
  const { name: _, ...settings } = translation.definitions.queues[0] ?? { name: 'none' }
  return { settings, said: said(translation) }
}

for (const [given, settings] of [
  [{ 'x-message-ttl': 1500 }, { ttlSeconds: 1.5 }],
  [{ 'x-max-length': 5 }, { maxMessages: 5, overflow: 'drop-oldest' }],
  [
    { 'x-max-length-bytes': 5, 'x-overflow': 'drop-head' },
    { maxBytes: 5, overflow: 'drop-oldest' },
  ],
  [
    { 'x-max-length': 5, 'x-overflow': 'reject-publish' },
    { maxMessages: 5, overflow: 'reject' },
  ],
  [{ 'x-max-priority': 9 }, { maxPriority: 9 }],
  [{ 'x-queue-type': 'quorum', 'x-delivery-limit': 2 }, { maxAttempts: 3 }],
  [{ 'x-queue-type': 'quorum', 'x-delivery-limit': -1 }, {}],
  [{ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'other' }, { deadLetterQueue: 'other' }],
  [{ 'x-dead-letter-exchange': '' }, { deadLetterExchange: 'default' }],
  [{ 'x-dead-letter-exchange': 'amq.topic' }, { deadLetterExchange: 'amq.topic' }],
  [
    { 'x-dead-letter-exchange': 'amq.fanout', 'x-dead-letter-routing-key': 'k' },
    { deadLetterExchange: 'amq.fanout', deadLetterRoutingKey: 'k' },
  ],
  [{ 'message-ttl': 5 }, {}],
  [[], {}],
] as const) {
  test(`a queue with ${JSON.stringify(given)} has ${JSON.stringify(settings)}, and nothing is said of it`, () => {
    assert.deepEqual(queueWith(given), { settings, said: [] })
  })
}

for (const [given, settings, finding] of [
  [
    { 'x-message-ttl': 0 },
    { ttlSeconds: 0.001 },
    /^unmapped queue q, message-ttl: must be between 1 and 31536000000, got 0$/,
  ],
  [{ 'x-message-ttl': '5' }, {}, /^unmapped queue q, message-ttl: must be a whole number, got "5"$/],
  [{ 'x-max-priority': 10 }, { maxPriority: 9 }, /^unmapped queue q, max-priority: must be between 0 and 9, got 10$/],
  [{ 'x-overflow': 'reject-publish-dlx' }, { overflow: 'reject' }, /^unmapped queue q, overflow: must be drop-head or/],
  [{ 'x-expires': 60_000 }, {}, /^unmapped queue q, expires: queues do not go away/],
  [{ 'x-single-active-consumer': true }, {}, /^unmapped queue q, single-active-consumer: all consumers receive/],
  [{ constructor: 1, 'x-constructor': 1 }, {}, /^unmapped queue q, constructor: is not known to this import$/],
  [
    { 'x-dead-letter-exchange': 'gone' },
    {},
    /^unmapped queue q, dead-letter-exchange: leads to the exchange "gone", which is/,
  ],
  [
    { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'q' },
    { deadLetterQueue: 'q' },
    /^unmapped queue q, dead-letter-exchange: leads back to the queue itself/,
  ],
  [
    { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'later' },
    { deadLetterExchange: 'default', deadLetterRoutingKey: 'later' },
    /^note queue q, dead-letter-exchange: leads to the queue "later": until there is one/,
  ],
  [
    { 'x-message-ttl': 1000, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'other' },
    { ttlSeconds: 1, deadLetterQueue: 'other' },
    /^note queue q: moves what expires when it is used or at the next maintain/,
  ],
  [{ 'x-delivery-limit': 3 }, {}, /^ignored queue q, delivery-limit: has no effect in classic queues$/],
  [
    { 'x-queue-type': 'quorum', 'x-max-priority': 5 },
    {},
    /^ignored queue q, max-priority: has no effect in quorum queues before RabbitMQ 4\.3$/,
  ],
  [{ 'x-queue-mode': 'lazy' }, {}, /^ignored queue q, queue-mode: where and in how many copies/],
  [{ 'x-consumer-timeout': 5 }, {}, /^ignored queue q, consumer-timeout: who takes too long loses the lease/],
] as const) {
  test(`of a queue with ${JSON.stringify(given)} it is said why it is not the same`, () => {
    const { settings: got, said } = queueWith(given)

    assert.deepEqual(got, settings)
    assert.equal(said.length, 1)
    assert.match(said[0] ?? '', finding)
  })
}

for (const [queue, why] of [
  [{ name: 'a:b' }, /its name must be 1 to 80 letters/],
  [{ name: 'x'.repeat(81) }, /its name must be 1 to 80 letters/],
  [{ name: 's', arguments: { 'x-queue-type': 'stream' } }, /is a stream/],
  [{ name: 's', type: 'stream' }, /is a stream/],
  [{ name: 's', type: 'x-strange' }, /is of the type "x-strange", which is not known/],
  [{ name: 'e', exclusive: true }, /is exclusive/],
  [{ name: 'd', auto_delete: true }, /goes away with its last consumer/],
] as const) {
  test(`the queue ${JSON.stringify(queue)} is not imported, nor is what is bound to it`, () => {
    const bindings = [{ source: 'amq.direct', destination: queue.name, destination_type: 'queue', routing_key: 'k' }]
    const translation = read({ queues: [queue], bindings })

    assert.deepEqual([translation.definitions.queues, translation.definitions.bindings], [[], []])
    const [first = '', second = ''] = said(translation)
    assert.match(first, new RegExp(`^unmapped queue ${queue.name}: ${why.source}`))
    assert.match(
      second,
      new RegExp(`^unmapped binding of amq.direct to .* \\(k\\): the queue ${queue.name} is not imported`),
    )
  })
}

test('queues that are not durable are volatile, unless dead letters come from or to them', () => {
  const exchanges = [{ name: 'dlx', type: 'fanout' }]
  const dead = { 'x-dead-letter-exchange': 'dlx' }
  const transient = ['plain', 'failing', 'graveyard'].map((name) => ({
    name,
    durable: false,
    arguments: name === 'failing' ? dead : {},
  }))
  const bindings = [{ source: 'dlx', destination: 'graveyard', destination_type: 'queue' }]

  const translation = read({ exchanges, queues: transient, bindings })

  assert.deepEqual(
    translation.definitions.queues.map(({ name, durability }) => [name, durability]),
    [
      ['plain', 'volatile'],
      ['failing', undefined],
      ['graveyard', undefined],
    ],
  )
  assert.equal(said(translation).filter((line) => /^note queue .*is not durable, but/.test(line)).length, 2)
})

test('quorum queues have the priorities that they say since RabbitMQ 4.3', () => {
  const queues = [{ name: 'a', arguments: { 'x-queue-type': 'quorum', 'x-max-priority': 5 } }]
  const priorities = (version: string) =>
    read({ rabbitmq_version: version, queues }).definitions.queues.map(({ maxPriority }) => maxPriority)

  assert.deepEqual(['3.13.7', '4.2.1', '4.3.0', '4.10.0', '5.0.0', ''].map(priorities), [
    [undefined],
    [undefined],
    [5],
    [5],
    [5],
    [undefined],
  ])
})

test('quorum queues of RabbitMQ 4 have its default limit, unless they or a policy say another', () => {
  const quorum = { 'x-queue-type': 'quorum' }
  const queues = [
    { name: 'a', arguments: quorum },
    { name: 'b', arguments: { ...quorum, 'x-delivery-limit': 2 } },
    { name: 'c', arguments: quorum },
  ]
  const policies = [{ name: 'c', pattern: '^c$', 'apply-to': 'queues', definition: { 'delivery-limit': 5 } }]
  const attempts = (version: string) =>
    read({ rabbitmq_version: version, queues, policies }).definitions.queues.map(({ maxAttempts }) => maxAttempts)

  assert.deepEqual(attempts('4.1.0'), [21, 3, undefined])
  assert.deepEqual(attempts('3.13.7'), [undefined, 3, undefined])
})

for (const [own, policy, settings] of [
  // (The policy's.)
  [{ 'x-delivery-limit': -1 }, { 'delivery-limit': 5 }, {}],
  [{ 'x-delivery-limit': 5 }, { 'delivery-limit': -1 }, { maxAttempts: 6 }],
  [{ 'x-delivery-limit': 5 }, { 'delivery-limit': 2 }, { maxAttempts: 3 }],
  [
    { 'x-max-length': 10, 'x-overflow': 'drop-head' },
    { overflow: 'reject-publish' },
    { maxMessages: 10, overflow: 'reject' },
  ],
] as const) {
  test(`a quorum queue with ${JSON.stringify(own)} under a policy with ${JSON.stringify(policy)} gets of its own ${JSON.stringify(settings)}`, () => {
    const { definitions } = read({
      queues: [{ name: 'q', arguments: { 'x-queue-type': 'quorum', ...own } }],
      policies: [{ name: 'p', pattern: '.*', 'apply-to': 'all', definition: policy }],
    })

    const [{ maxAttempts, maxMessages, overflow } = {}] = definitions.queues
    const has = { maxAttempts, maxMessages, overflow }
    assert.deepEqual(Object.fromEntries(Object.entries(has).filter(([, value]) => value !== undefined)), settings)
  })
}

test('what a file says twice is imported once; if it says something else the second time, that is named', () => {
  const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'other' }
  const policy = { name: 'p', pattern: '^q', definition: { 'message-ttl': 1000 } }
  const translation = read({
    queues: [
      { name: 'q', arguments: dead },
      { name: 'other' },
      { name: 'q', arguments: dead },
      { name: 'other', durable: true, arguments: { 'x-max-length': 5 } },
    ],
    exchanges: [
      { name: 'x', type: 'topic' },
      { name: 'x', type: 'fanout' },
    ],
    policies: [policy, policy],
  })

  const { queues, exchanges, policies } = translation.definitions
  assert.deepEqual(
    queues.map(({ name, maxMessages }) => [name, maxMessages]),
    [
      ['q', undefined],
      ['other', undefined],
    ],
  )
  assert.deepEqual([exchanges, policies.length], [[{ name: 'x', type: 'topic' }], 1])
  assert.deepEqual(
    said(translation).filter((line) => line.startsWith('unmapped')),
    [
      'unmapped queue other: is in the file twice, and not the same',
      'unmapped exchange x: is in the file twice, and not the same',
    ],
  )
})
