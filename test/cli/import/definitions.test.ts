/* Which files are taken, which virtual host of them, and what of the rest is listed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDefinitions } from '../../../src/cli/import/definitions.ts'
import { read, said } from './read.ts'

test('the virtual host is the only one that has something, or must be named', () => {
  const queues = [
    { name: 'a', vhost: '/' },
    { name: 'b', vhost: 'b' },
  ]
  const vhosts = [{ name: '/' }, { name: 'b' }, { name: 'empty' }]

  assert.equal(read({ vhosts, queues: queues.slice(0, 1) }).vhost, '/')
  assert.deepEqual(read({ vhosts, queues }, 'b').definitions.queues, [{ name: 'b' }])
  assert.deepEqual(said(read({ vhosts, queues }, 'b')), ['ignored virtual host /: --vhost imports it, on its own'])
  assert.deepEqual(read({ vhosts, queues }, 'empty').definitions.queues, [])
  assert.throws(() => read({ vhosts, queues }), {
    exitCode: 2,
    message: '--vhost must say which virtual host to import: "/", "b"',
  })
  assert.throws(() => read({ vhosts, queues }, 'c'), {
    exitCode: 2,
    message: /^there is no virtual host c in it, but "\/", "b", "empty"$/,
  })
})

test('what is none of the topology is listed, and its values are not shown', () => {
  const translation = read({
    users: [{ name: 'guest', password_hash: 'secret' }],
    permissions: [{}, {}],
    parameters: [
      { component: 'shovel', name: 'moving', value: { 'src-uri': 'amqp://user:secret@host' } },
      { component: 'vhost-limits', name: 'limits', value: { secret: 1 } },
      { component: 'plugin', name: 'x', value: 'secret' },
    ],
  })

  assert.deepEqual(
    translation.findings.map(({ kind, subject }) => `${kind} ${subject}`),
    [
      'ignored users (1)',
      'ignored permissions (2)',
      'unmapped shovel moving',
      'ignored vhost-limits limits',
      'unmapped plugin x',
    ],
  )
  assert.doesNotMatch(JSON.stringify(translation), /secret/)
})

for (const [problem, text, message] of [
  ['no JSON', '{"queues": [', /^file: Expected|^file: Unexpected|^file: .*JSON/],
  ['no object', '[]', /^file: it must be an object, got \[\]$/],
  ['null', 'null', /^file: it must be an object, got null$/],
  [
    'another file',
    '{"name": "package"}',
    /^file: it must be what RabbitMQ exports, with some of queues, .* got \["name"\]$/,
  ],
  ['a list that is none', '{"queues": {}}', /^file: queues must be an array, got \{\}$/],
  ['a queue that is none', '{"queues": [5]}', /^file: queues\[0\] must be an object, got 5$/],
  ['a queue without a name', '{"queues": [{}]}', /^file: queues\[0\]\.name must be a string, got nothing$/],
  [
    'a flag that is none',
    '{"queues": [{"name": "a", "durable": "yes"}]}',
    /^file: queues\[0\]\.durable must be true or false, got "yes"$/,
  ],
  [
    'arguments that are none',
    '{"queues": [{"name": "a", "arguments": 5}]}',
    /^file: queues\[0\]\.arguments must be an object, got 5$/,
  ],
  [
    'a binding to neither',
    '{"bindings": [{"source": "a", "destination": "b", "destination_type": "c"}]}',
    /^file: bindings\[0\]\.destination_type must be queue or exchange, got "c"$/,
  ],
] as const) {
  test(`refuses ${problem}`, () => {
    assert.throws(() => readDefinitions('file', text), { exitCode: 65, message })
  })
}
