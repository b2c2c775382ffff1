/* Receivers whose head decides, whatever they do besides. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { maxReadBytes } from '../../src/limits.ts'
import type { Answered } from '../../src/webhooks/outcome.ts'
import { answered, buffers, failed, type HostileCase, head, long, middle } from './hostile.ts'
import { answering, drip, flood, onRequest } from './receiver.ts'

const manyHeaders = Array.from({ length: 100 }, (_, at) => `x-${at}: ${'v'.repeat(90)}\r\n`).join('')

/** 30 MB of zeros in about 30 kB. */
const bomb = gzipSync(Buffer.alloc(30_000_000))

export const hostileBodies: readonly HostileCase[] = [
  {
    name: 'drips the body',
    behave: onRequest((socket) => {
      socket.write(`${head}content-length: 100000\r\n\r\nfirst`)
      drip(socket, '.')
    }),
    timeoutMillis: middle,
    expect: (outcome) => {
      answered({ status: 200, isCut: true })(outcome)
      assert.match((outcome as Answered).body, /^first\.*$/)
    },
  },
  {
    name: 'never ends its body',
    behave: onRequest((socket) => {
      socket.write(`${head}\r\n`)
      flood(socket, 'x'.repeat(16_384))
    }),
    timeoutMillis: long,
    expect: (outcome, receiver) => {
      answered({ status: 200, isCut: true, body: 'x'.repeat(4096) })(outcome)
      assert.ok(receiver.writtenBytes < maxReadBytes + buffers, `${receiver.writtenBytes} bytes`)
    },
  },
  {
    name: 'sends one chunk without end',
    behave: onRequest((socket) => {
      socket.write(`${head}transfer-encoding: chunked\r\n\r\nfffffffff\r\n`)
      flood(socket, 'x'.repeat(16_384))
    }),
    timeoutMillis: long,
    expect: answered({ status: 200, isCut: true, body: 'x'.repeat(4096) }),
  },
  {
    name: 'sends more headers than are kept',
    behave: answering(`${head}${manyHeaders}retry-after: 7\r\ncontent-length: 2\r\n\r\nok`),
    timeoutMillis: long,
    expect: (outcome) => {
      answered({ status: 200, isCut: true, retryAfterSeconds: 7, body: 'ok' })(outcome)
      assert.equal(Object.keys((outcome as Answered).headers).length, 64)
    },
  },
  {
    name: 'redirects to itself',
    behave: (socket) =>
      socket.on('data', () =>
        socket.write('HTTP/1.1 307 Over There\r\nlocation: /inside\r\ncontent-length: 0\r\n\r\n'),
      ),
    timeoutMillis: long,
    expect: (outcome, receiver) => {
      failed('redirect')(outcome)
      answered({ status: 307 })(outcome)
      assert.equal(receiver.received.join('').match(/POST/g)?.length, 1)
      assert.doesNotMatch(receiver.received.join(''), /POST \/inside/)
    },
  },
  {
    name: 'resets in the middle of the body',
    behave: onRequest((socket) => {
      socket.write(`${head}content-length: 100\r\n\r\nbegun`, () => socket.resetAndDestroy())
    }),
    timeoutMillis: long,
    // A reset may overtake what was sent before it: that is for the system to decide.
    expect: (outcome) => {
      if (outcome.kind === 'answered') answered({ status: 200, isCut: true })(outcome)
      else failed('connection')(outcome)
    },
  },
  {
    name: 'closes before the length that it told',
    behave: onRequest((socket) => socket.end(`${head}content-length: 100\r\n\r\nbegun`)),
    timeoutMillis: long,
    expect: answered({ status: 200, isCut: true, body: 'begun' }),
  },
  {
    name: 'sends a bomb of zeros, compressed though that was not to be',
    behave: answering(
      Buffer.concat([Buffer.from(`${head}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`), bomb]),
    ),
    timeoutMillis: long,
    expect: (outcome) => {
      answered({ status: 200, isCut: true })(outcome)
      // As it came: no byte of it is inflated.
      assert.ok((outcome as Answered).body.startsWith('\x1f\ufffd\x08'))
      assert.ok((outcome as Answered).body.length <= 4096)
    },
    expectOfFetch: (outcome) => {
      answered({ status: 200, isCut: true })(outcome)
      assert.ok((outcome as Answered).body.length <= 4096)
    },
  },
  {
    name: 'sends two interim answers and then one that counts',
    behave: answering(
      `${'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(2)}${head}content-length: 2\r\n\r\nok`,
    ),
    timeoutMillis: long,
    expect: answered({ status: 200, body: 'ok', isCut: false }),
    // (workerd takes the first for the answer. So it is no success.)
    expectOfFetch: failed('status'),
    fetchMillis: middle,
  },
  {
    name: 'answers before it has read the request',
    behave: onRequest((socket) => {
      socket.pause()
      socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno')
    }),
    body: 'b'.repeat(12_000_000),
    timeoutMillis: long,
    expect: answered({ status: 413, body: 'no' }),
    fetchMillis: middle,
  },
  {
    name: 'speaks HTTP/1.0 and ends by closing',
    behave: onRequest((socket) => socket.end('HTTP/1.0 200 OK\r\nServer: old\r\n\r\nfine')),
    timeoutMillis: long,
    expect: (outcome) => {
      answered({ status: 200, body: 'fine', isCut: false })(outcome)
      assert.equal((outcome as Answered).headers['server'], 'old')
    },
  },
  {
    name: 'sends chunks that are none',
    behave: answering(`${head}transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\nzzz\r\n`),
    timeoutMillis: long,
    expect: answered({ status: 200, isCut: true }),
  },
  {
    name: 'sends what is no text',
    behave: answering(Buffer.from(`${head}content-length: 8\r\n\r\na\0b\xff\xfec\xf0\x9f`, 'latin1')),
    timeoutMillis: long,
    expect: answered({ status: 200, body: 'a\ufffdb\ufffd\ufffdc\ufffd', isCut: false }),
  },
]
