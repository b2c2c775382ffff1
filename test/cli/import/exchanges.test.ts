/* What RabbitMQ's exchanges and bindings become, and what is said of those that become nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { read, said } from './read.ts'

for (const [type, expected] of [
  [{ type: 'direct' }, 'direct'],
  [{ type: 'topic' }, 'topic'],
  [{ type: 'fanout' }, 'fanout'],
  [{ type: 'headers' }, 'headers'],
  [{ type: 'x-consistent-hash' }, 'hash'],
  [{ type: 'x-delayed-message', arguments: { 'x-delayed-type': 'topic' } }, 'topic'],
] as const) {
  test(`an exchange ${JSON.stringify(type)} is a ${expected} exchange`, () => {
    assert.deepEqual(read({ exchanges: [{ name: 'x', ...type }] }).definitions.exchanges, [
      { name: 'x', type: expected },
    ])
  })
}

for (const [exchange, finding] of [
  [
    { name: 'x', type: 'x-modulus-hash' },
    /^unmapped exchange x: is of the type "x-modulus-hash", which has no counterpart$/,
  ],
  [{ name: 'x', type: 'toString' }, /^unmapped exchange x: is of the type "toString"/],
  [{ name: 'x', type: 'x-delayed-message' }, /^unmapped exchange x: is of the type "x-delayed-message"/],
  [
    { name: 'x', type: 'x-consistent-hash', arguments: { 'hash-header': 'id' } },
    /^unmapped exchange x: decides by hash-header "id"/,
  ],
  [
    { name: 'default', type: 'direct' },
    /^unmapped exchange default: its name is that of the exchange that is always there$/,
  ],
  [{ name: 'my exchange', type: 'direct' }, /^unmapped exchange my exchange: its name must be 1 to 80/],
] as const) {
  test(`the exchange ${JSON.stringify(exchange)} is not imported`, () => {
    const translation = read({ exchanges: [exchange] })

    assert.deepEqual(translation.definitions.exchanges, [])
    assert.match(said(translation).join('\n'), finding)
  })
}

for (const [more, finding] of [
  [{ internal: true }, /^note exchange x: is internal/],
  [{ auto_delete: true }, /^note exchange x: goes away with its last binding/],
  [{ durable: false }, /^note exchange x: is not durable/],
  [{ arguments: { 'x-cache-size': 5 } }, /^unmapped exchange x, x-cache-size: is not known to this import, got 5$/],
  [{ arguments: { 'alternate-exchange': 'a b' } }, /^unmapped exchange x, alternate-exchange: its name must be/],
] as const) {
  test(`of an exchange with ${JSON.stringify(more)} that is said`, () => {
    const translation = read({ exchanges: [{ name: 'x', type: 'direct', ...more }] })

    assert.deepEqual(translation.definitions.exchanges, [{ name: 'x', type: 'direct' }])
    assert.match(said(translation).join('\n'), finding)
  })
}

test('built-in exchanges are declared where they are used, and only there', () => {
  const exchanges = [{ name: 'x', type: 'direct', arguments: { 'alternate-exchange': 'amq.fanout' } }]
  const queues = [{ name: 'q', arguments: { 'x-dead-letter-exchange': 'amq.direct' } }]
  const bindings = [{ source: 'amq.match', destination: 'q', destination_type: 'queue', arguments: { a: 'b' } }]

  const { definitions } = read({ exchanges, queues, bindings })

  assert.deepEqual(definitions.exchanges, [
    { name: 'amq.direct', type: 'direct' },
    { name: 'amq.fanout', type: 'fanout' },
    { name: 'amq.match', type: 'headers' },
    { name: 'x', type: 'direct', alternate: 'amq.fanout' },
  ])
})

/** What a binding of an exchange of that type becomes. */
function bound(type: string, binding: object) {
  const translation = read({
    exchanges: [{ name: 'x', type }],
    queues: [{ name: 'q' }],
    bindings: [{ source: 'x', destination: 'q', destination_type: 'queue', ...binding }],
  })
  const findings = said(translation).filter((line) => line.includes(' binding '))
  return { bindings: translation.definitions.bindings.map(({ source: _, queue: __, ...rest }) => rest), findings }
}

for (const [type, binding, expected] of [
  ['direct', { routing_key: 'a.b' }, { routingKey: 'a.b' }],
  ['topic', { routing_key: 'a.*.#', arguments: { ignored: 1 } }, { routingKey: 'a.*.#' }],
  ['fanout', {}, { routingKey: '' }],
  ['x-consistent-hash', { routing_key: '7' }, { weight: 7 }],
  ['headers', { arguments: { a: 'b', 'x-c': 'd' } }, { routingKey: '', headers: { a: 'b' }, match: 'all' }],
  ['headers', { arguments: { 'x-match': 'any', a: null } }, { routingKey: '', headers: { a: null }, match: 'any' }],
  [
    'headers',
    { arguments: { 'x-match': 'any-with-x', 'x-c': 'd' } },
    { routingKey: '', headers: { 'x-c': 'd' }, match: 'any' },
  ],
  [
    'headers',
    { arguments: { 'x-match': 'all-with-x', 'x-c': 'd' } },
    { routingKey: '', headers: { 'x-c': 'd' }, match: 'all' },
  ],
  ['headers', { arguments: {} }, { routingKey: '', headers: {}, match: 'all' }],
] as const) {
  test(`a binding ${JSON.stringify(binding)} of a ${type} exchange is ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(bound(type, binding), { bindings: [expected], findings: [] })
  })
}

for (const [type, binding, finding] of [
  ['x-consistent-hash', { routing_key: '101' }, /^unmapped .*: its weight must be between 1 and 100, got "101"$/],
  ['x-consistent-hash', { routing_key: '' }, /^unmapped .*: its weight must be between 1 and 100, got ""$/],
  [
    'headers',
    { arguments: { 'x-match': 'most' } },
    /^unmapped .*: its x-match must be all, any, all-with-x or any-with-x, got "most"$/,
  ],
  [
    'headers',
    { arguments: { a: ['b'] } },
    /^unmapped .*: a header must be a text, a number or true or false, got \["b"\]$/,
  ],
  ['headers', { arguments: { 'x-match': 'any' } }, /^ignored .*: asks for any of no headers/],
  [
    'headers',
    { arguments: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`h${index}`, 'v'])) },
    /^unmapped .*: must ask for at most 32 headers, got 33$/,
  ],
  ['direct', { destination: 'gone' }, /^unmapped .*: the queue gone is not imported$/],
  ['direct', { source: 'gone' }, /^unmapped .*: the exchange gone is not imported$/],
  ['direct', { source: 'amq.rabbitmq.event' }, /^unmapped .*: the exchange amq.rabbitmq.event is not imported$/],
] as const) {
  test(`a binding ${JSON.stringify(binding).slice(0, 60)} of a ${type} exchange is left out`, () => {
    const { bindings, findings } = bound(type, binding)

    assert.deepEqual(bindings, [])
    assert.match(findings.join('\n'), finding)
  })
}

test('numbers in headers are asked for as texts, which is said', () => {
  const { bindings, findings } = bound('headers', { arguments: { pages: 5, draft: true } })

  assert.deepEqual(bindings, [{ routingKey: '', headers: { pages: '5', draft: 'true' }, match: 'all' }])
  assert.match(findings.join('\n'), /^note .*: asks for texts/)
})

test('bindings to the exchange without a name are there anyway', () => {
  const bindings = [{ source: '', destination: 'q', destination_type: 'queue', routing_key: 'q' }]

  const translation = read({ queues: [{ name: 'q' }], bindings })

  assert.deepEqual([translation.definitions.bindings, translation.findings], [[], []])
})

test('a queue that is bound twice to a hash exchange has one weight, as in RabbitMQ: that of the first', () => {
  const to = (destination: string, routing_key: string, more: object = {}) => ({
    source: 'x',
    destination,
    destination_type: 'queue',
    routing_key,
    ...more,
  })

  const translation = read({
    exchanges: [
      { name: 'x', type: 'x-consistent-hash' },
      { name: 'y', type: 'x-consistent-hash' },
    ],
    queues: [{ name: 'q' }, { name: 'r' }],
    bindings: [
      to('q', '3'),
      to('r', '1'),
      to('q', '5'),
      to('r', '1', { arguments: { a: 1 } }),
      to('q', '5', { source: 'y' }),
    ],
  })

  assert.deepEqual(translation.definitions.bindings, [
    { source: 'x', queue: 'q', weight: 3 },
    { source: 'x', queue: 'r', weight: 1 },
    { source: 'y', queue: 'q', weight: 5 },
  ])
  assert.deepEqual(
    said(translation).filter((line) => line.includes(' binding ')),
    ['note binding of x to the queue q (5): counts once, as in RabbitMQ: with the weight 3, which comes first here'],
  )
})
