/* RabbitMQ's policies: of several, one holds there, and all hold here; a queue of the file has what it had all the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../../../src/cli/import/policies.ts'
import { read as readAll, said } from './read.ts'

interface Given {
  readonly queues?: readonly object[]
  readonly exchanges?: readonly object[]
  readonly policies: readonly object[]
  readonly parameters?: readonly object[]
}

function read(given: Given) {
  const translation = readAll(given)
  return { ...translation.definitions, said: said(translation) }
}

const policy = (name: string, pattern: string, definition: object, more: object = {}) => ({
  name,
  pattern,
  definition,
  'apply-to': 'queues',
  priority: 0,
  ...more,
})

/** What a queue has in the end, without what it has not. */
function had(given: Given, queue = 'a.q') {
  const { queues, policies } = read(given)
  const { name, ...own } = queues.find(({ name }) => name === queue) ?? { name: queue }
  const all = Object.entries(settled(policies, name, own))
  return Object.fromEntries(all.filter(([, value]) => value !== null))
}

test('a policy becomes one, with its settings', () => {
  const definition = { 'message-ttl': 60_000, 'max-length': 10, 'delivery-limit': 4, 'ha-mode': 'all' }
  const { policies, said } = read({ policies: [policy('limits', '^a\\.', definition)] })

  const settings = { ttlSeconds: 60, maxMessages: 10, maxAttempts: 5, overflow: 'drop-oldest' }
  assert.deepEqual(policies, [{ name: 'limits', pattern: 'a.*', settings }])
  assert.match(said.join('\n'), /^ignored policy limits, ha-mode: /)
})

test('a queue that a policy fits has nothing of its own', () => {
  const { queues } = read({ queues: [{ name: 'a.q' }], policies: [policy('p', '^a\\.', { 'max-length': 10 })] })

  assert.deepEqual(queues, [{ name: 'a.q' }])
})

for (const [claim, given, expected] of [
  [
    'of two policies the one of the higher priority holds, and nothing of the other',
    {
      queues: [{ name: 'a.q' }],
      policies: [
        policy('wide', '.*', { 'message-ttl': 1000 }, { priority: 9 }),
        policy('narrow', '^a\\.', { 'message-ttl': 2000, 'max-length': 5 }),
      ],
    },
    { ttlSeconds: 1, overflow: 'drop-oldest' },
  ],
  [
    'a policy that says nothing to Postbag hides others all the same',
    {
      queues: [{ name: 'a.q' }],
      policies: [
        policy('ha', '.*', { 'ha-mode': 'all' }, { priority: 1 }),
        policy('ttl', '.*', { 'message-ttl': 1000 }),
      ],
    },
    {},
  ],
  [
    'the lower of an argument and a policy counts, and for the rest the argument',
    {
      queues: [
        { name: 'a.q', arguments: { 'x-message-ttl': 5000, 'x-max-length': 5, 'x-overflow': 'reject-publish' } },
      ],
      policies: [policy('p', '.*', { 'message-ttl': 1000, 'max-length': 50, overflow: 'drop-head' })],
    },
    { ttlSeconds: 1, maxMessages: 5, overflow: 'reject' },
  ],
  [
    "the lower of a policy and the operator's counts",
    {
      queues: [{ name: 'a.q' }],
      policies: [policy('p', '^a', { 'max-length': 50 })],
      parameters: [
        { component: 'operator_policy', name: 'o', value: policy('', '.*', { 'max-length': 20, 'message-ttl': 1000 }) },
      ],
    },
    { maxMessages: 20, ttlSeconds: 1, overflow: 'drop-oldest' },
  ],
  [
    'a policy for quorum queues is nothing to classic ones',
    {
      queues: [{ name: 'a.q' }],
      policies: [policy('p', '.*', { 'message-ttl': 1000, 'delivery-limit': 3 }, { 'apply-to': 'quorum_queues' })],
    },
    {},
  ],
  [
    'a delivery limit is nothing to classic queues',
    { queues: [{ name: 'a.q' }], policies: [policy('p', '.*', { 'message-ttl': 1000, 'delivery-limit': 3 })] },
    { ttlSeconds: 1 },
  ],
  [
    'a queue whose policy sends dead letters to an exchange may say the routing key',
    {
      queues: [{ name: 'a.q', arguments: { 'x-dead-letter-routing-key': 'k' } }],
      policies: [policy('p', '.*', { 'dead-letter-exchange': 'amq.direct' })],
    },
    { deadLetterExchange: 'amq.direct', deadLetterRoutingKey: 'k' },
  ],
  [
    'a queue whose argument sends dead letters elsewhere than its policy has its own',
    {
      queues: [{ name: 'a.q', arguments: { 'x-dead-letter-exchange': 'amq.fanout' } }, { name: 'dead' }],
      policies: [policy('p', '.*', { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'dead' })],
    },
    { deadLetterExchange: 'amq.fanout', deadLetterRoutingKey: 'dead' },
  ],
  [
    'a queue that a hidden policy would give dead letters has none',
    {
      queues: [{ name: 'a.q' }],
      policies: [
        policy('dlx', '^a', { 'dead-letter-exchange': 'amq.fanout' }),
        policy('top', '.*', { 'message-ttl': 1000 }, { priority: 2 }),
      ],
    },
    { ttlSeconds: 1 },
  ],
] as const) {
  test(claim, () => {
    assert.deepEqual(had(given), expected)
  })
}

test('priorities that Postbag would not follow are said', () => {
  const { said } = read({
    policies: [
      policy('wide', '.*', { 'message-ttl': 1000 }, { priority: 9 }),
      policy('narrow', '^a\\.', { 'message-ttl': 2000 }, { priority: 1 }),
      policy('apart', '^b$', { 'message-ttl': 2000 }, { priority: 20 }),
    ],
  })

  assert.deepEqual(said, ['note policy wide: has the priority 9, but narrow (1) is more specific, and wins'])
})

for (const [claim, given, finding] of [
  [
    'a pattern without a counterpart',
    policy('p', '^(a|b)$', { 'message-ttl': 1 }),
    /^unmapped policy p: its pattern "\^\(a\|b\)\$" must be/,
  ],
  [
    'a name that is too long',
    policy('p'.repeat(81), '.*', { 'message-ttl': 1 }),
    /^unmapped policy p+: its name must be 1 to 80 letters/,
  ],
  [
    'such a pattern of a policy that says nothing here',
    policy('p', '^(a|b)$', { 'ha-mode': 'all' }),
    /^ignored policy p: its pattern/m,
  ],
  [
    'a name of other characters',
    policy('my policy', '.*', { 'message-ttl': 1 }),
    /^note policy my policy: is called my-policy$/,
  ],
  [
    'one for some types of queues',
    policy('p', '.*', { 'message-ttl': 1 }, { 'apply-to': 'classic_queues' }),
    /^note policy p: is for classic queues only/,
  ],
  [
    'one for streams',
    policy('p', '.*', { 'max-age': '1D' }, { 'apply-to': 'streams' }),
    /^ignored policy p: is for streams only$/,
  ],
  [
    'federation',
    policy('p', '.*', { 'federation-upstream-set': 'all' }),
    /^unmapped policy p, federation-upstream-set: there is no federation$/,
  ],
  ['expiry of queues', policy('p', '.*', { expires: 5 }), /^unmapped policy p, expires: queues do not go away/],
] as const) {
  test(`of a policy with ${claim} that is said`, () => {
    assert.match(read({ policies: [given] }).said.join('\n'), finding)
  })
}

test('a policy that says nothing here, but hides others where it matches, must have a pattern that can be said', () => {
  const { said } = read({
    policies: [
      policy('ha', '^(?!amq)', { 'ha-mode': 'all' }, { priority: 1 }),
      policy('ttl', '.*', { 'message-ttl': 1 }),
    ],
  })

  assert.match(said.join('\n'), /^unmapped policy ha: its pattern/m)
})

test('two policies whose names become the same are not taken for one', () => {
  const { policies, said } = read({
    queues: [{ name: 'b' }],
    policies: [policy('a b', '^a', { 'message-ttl': 1000 }), policy('a-b', '^b', { 'message-ttl': 2000 })],
  })

  assert.deepEqual(policies, [{ name: 'a-b', pattern: 'a*', settings: { ttlSeconds: 1 } }])
  assert.match(said.join('\n'), /^unmapped policy a-b: its name must be .*, and no other's, got "a-b"$/m)
})

test('a policy whose dead-letter queue it fits itself is imported, and it is said', () => {
  const definition = { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'a.dead' }
  const { policies, said } = read({ queues: [{ name: 'a.dead' }], policies: [policy('p', '^a', definition)] })

  assert.deepEqual(policies, [{ name: 'p', pattern: 'a*', settings: { deadLetterQueue: 'a.dead' } }])
  assert.match(said.join('\n'), /^note queue a\.dead, dead-letter-exchange: leads back to the queue itself/)
})

test('alternates by policy are set at the exchanges that match, unless they say their own', () => {
  const exchanges = [
    { name: 'a.x', type: 'direct' },
    { name: 'a.y', type: 'direct', arguments: { 'alternate-exchange': 'mine' } },
    { name: 'b', type: 'direct' },
  ]
  const policies = [policy('ae', '^a\\.', { 'alternate-exchange': 'strays' }, { 'apply-to': 'exchanges' })]

  const read_ = read({ exchanges, policies })

  assert.deepEqual(
    read_.exchanges.map(({ alternate }) => alternate),
    ['strays', 'mine', undefined],
  )
  assert.deepEqual(read_.policies, [])
  assert.match(read_.said.join('\n'), /^note policy ae: its alternate-exchange is set at the exchanges that match now/)
})
