/* Receivers from which the head of an answer never comes, or one that is none: each is a failure, and says of which kind. */
import assert from 'node:assert/strict'
import { errorOf } from '../../src/webhooks/outcome.ts'
import { buffers, failed, type HostileCase, head, long, short } from './hostile.ts'
import { answering, drip, flood, onRequest } from './receiver.ts'

export const hostileHeads: readonly HostileCase[] = [
  {
    name: 'never answers',
    behave: () => {},
    timeoutMillis: short,
    expect: failed('timeout'),
  },
  {
    name: 'never answers the handshake',
    behave: () => {},
    isSecure: true,
    timeoutMillis: short,
    expect: failed('timeout'),
  },
  {
    name: 'stops in the middle of the head',
    behave: answering('HTTP/1.1 200 OK\r\nx-a: '),
    timeoutMillis: short,
    expect: failed('timeout'),
  },
  {
    name: 'drips the head',
    behave: onRequest((socket) => {
      socket.write(head)
      drip(socket, 'x-a: 1\r\n')
    }),
    timeoutMillis: short,
    expect: failed('timeout'),
  },
  {
    name: 'sends a header of a megabyte',
    behave: answering(`${head}x-a: ${'a'.repeat(1_048_576)}\r\ncontent-length: 0\r\n\r\n`),
    timeoutMillis: long,
    expect: failed('too_large'),
    expectOfFetch: failed('connection'),
  },
  {
    name: 'sends header lines without end',
    behave: onRequest((socket) => {
      socket.write(head)
      flood(socket, 'x-a: 1\r\n'.repeat(1000))
    }),
    timeoutMillis: long,
    expect: (outcome, receiver) => {
      failed('too_large')(outcome)
      assert.ok(receiver.writtenBytes < buffers, `${receiver.writtenBytes} bytes`)
    },
    expectOfFetch: failed('connection'),
  },
  {
    name: 'resets as soon as it is connected',
    behave: (socket) => socket.resetAndDestroy(),
    timeoutMillis: long,
    expect: failed('connection'),
  },
  {
    name: 'resets in the handshake',
    behave: onRequest((socket) => socket.resetAndDestroy()),
    isSecure: true,
    timeoutMillis: long,
    expect: failed('connection'),
  },
  {
    name: 'resets when the request comes',
    behave: onRequest((socket) => socket.resetAndDestroy()),
    timeoutMillis: long,
    expect: (outcome, receiver) => {
      failed('connection')(outcome)
      assert.equal(receiver.connections, 1)
    },
    expectOfFetch: failed('connection'),
  },
  {
    name: 'closes when the request comes',
    behave: onRequest((socket) => socket.end()),
    timeoutMillis: long,
    expect: failed('connection'),
  },
  {
    name: 'closes in the middle of the head',
    behave: onRequest((socket) => socket.end('HTTP/1.1 200 O')),
    timeoutMillis: long,
    expect: failed('connection'),
  },
  {
    name: 'speaks no HTTP',
    behave: answering('SSH-2.0-OpenSSH_9.6\r\n'),
    timeoutMillis: long,
    expect: failed('protocol'),
    expectOfFetch: failed('timeout'),
    fetchMillis: short,
  },
  {
    name: 'sends random bytes',
    behave: answering(Uint8Array.from({ length: 3000 }, (_, at) => (at * 197 + 131) % 256)),
    timeoutMillis: long,
    expect: failed('protocol'),
    expectOfFetch: failed('timeout'),
    fetchMillis: short,
  },
  {
    name: 'tells two lengths',
    behave: answering(`${head}content-length: 2\r\ncontent-length: 5\r\n\r\nhello`),
    timeoutMillis: long,
    expect: failed('protocol'),
    expectOfFetch: failed('connection'),
  },
  {
    name: 'sends interim answers without end',
    behave: onRequest((socket) => flood(socket, 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100))),
    timeoutMillis: long,
    expect: failed('protocol'),
    expectOfFetch: (outcome) => assert.notEqual(errorOf(outcome), undefined),
  },
  {
    name: 'changes the protocol',
    behave: answering('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'),
    timeoutMillis: long,
    expect: failed('protocol'),
    expectOfFetch: (outcome) => assert.notEqual(errorOf(outcome), undefined),
  },
]
