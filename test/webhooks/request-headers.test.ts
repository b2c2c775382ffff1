/* Which headers an endpoint may add. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkHeaders, checkSendable, sentHeaders } from '../../src/webhooks/request-headers.ts'

const refused: [headers: Record<string, string>, message: RegExp][] = [
  [{ 'a b': '' }, /^headers must have names of 1 to 100 token characters, got a b$/],
  [{ '': '' }, /must have names of/],
  [{ 'a:': '' }, /must have names of/],
  [{ ü: '' }, /must have names of/],
  [{ ['a'.repeat(101)]: '' }, /must have names of/],
  [{ Host: 'inside' }, /^headers must not set what belongs to the connection, got Host$/],
  [{ 'content-length': '0' }, /belongs to the connection/],
  [{ 'Transfer-Encoding': 'chunked' }, /belongs to the connection/],
  [{ connection: 'close' }, /belongs to the connection/],
  [{ expect: '100-continue' }, /belongs to the connection/],
  [{ 'proxy-authorization': 'x' }, /belongs to the connection/],
  [{ 'accept-encoding': 'gzip' }, /belongs to the connection/],
  [
    { 'x-secret': 'hidden\r\nhost: inside' },
    /^headers must have values of visible ASCII, spaces and tabs, got x-secret$/,
  ],
  [{ 'x-a': 'a\0' }, /visible ASCII/],
  [{ 'x-a': 'ü' }, /visible ASCII/],
  [Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`x-${at}`, ''])), /^headers must be at most 32, got 33$/],
  [{ 'User-Agent': 'Mine' }, /^headers must not set what each delivery has of its own, got User-Agent$/],
  [{ 'content-type': 'text/plain' }, /what each delivery has of its own, got content-type$/],
  [{ 'webhook-id': '1' }, /what each delivery has of its own/],
  [{ 'Webhook-Timestamp': '1' }, /what each delivery has of its own/],
  [{ 'webhook-signature': 'v1,' }, /what each delivery has of its own/],
  [{ 'X-A': '1', 'x-b': '2', 'x-a': '3' }, /^headers must not have names that differ only in case, got x-a$/],
  [{ 'x-a': 'a'.repeat(8190) }, /^headers must have at most 8192 bytes, got 8193$/],
]

describe('the headers of an endpoint', () => {
  test('may be tokens, tracing and the like', () => {
    checkHeaders({
      Authorization: 'Bearer a.b-c',
      'x-tenant': 'a b\tc',
      traceparent: '00-…'.replace('…', 'ab'),
      accept: 'text/plain',
    })
    checkHeaders({})
  })

  for (const [headers, message] of refused) {
    test(`may not be ${JSON.stringify(headers).slice(0, 60)}`, () => {
      assert.throws(() => checkHeaders(headers), { name: 'QueueError', code: 'request_invalid', message })
    })
  }

  test('are as many as they may be beside those that every delivery has', () => {
    const own = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`x-${at}`, 'a'.repeat(250)]))
    checkHeaders(own)
    checkSendable({
      ...own,
      'content-type': 'application/json',
      'webhook-id': '1',
      'webhook-signature': 'v1,'.repeat(100),
    })
    assert.throws(() => checkSendable({ ...own, host: 'inside' }), /belongs to the connection/)
  })

  test('are sent in lower case, with ours', () => {
    assert.deepEqual(sentHeaders({ 'User-Agent': 'Mine', 'X-A': '1' }), {
      'user-agent': 'Mine',
      accept: '*/*',
      'x-a': '1',
      'accept-encoding': 'identity',
    })
  })
})
