/* A body comes back byte for byte, however it was sent; and what is too large, or is not what it says it is, is refused. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import type { ReceiveResponse } from '../../src/wire.ts'
import { assertProblem, type Case, call, json } from './target.ts'
import { bodyText, newQueue } from './test-queue.ts'

const mebibyte = 1_048_576

/** JSON that a parser and a printer would change, or a database refuse. */
const jsonTexts: readonly string[] = [
  '1.0',
  '-0',
  '1E+2',
  '1e400',
  '12345678901234567890',
  '0.1000000000000000055511151231257827021181583404541015625',
  'null',
  'false',
  '""',
  '[]',
  '{}',
  '{"z":1,"a":2,"10":3,"9":4}',
  '{ "spaces" :\t[ 1 ,\r\n 2 ]\n}',
  '{"twice":1,"twice":2}',
  '{"__proto__":{"polluted":true},"constructor":1}',
  '{"body":{"messages":[{"body":"} ] \\" \\\\"}]}}',
  '"\\u0000 and \\/ and \\u00e9 stay escaped"',
  '"a lone \\ud800, a lone \\udfff, and a pair \\ud83d\\ude00"',
  '"\u007f \u0080 \u2028 \u2029 \ufeff \uffff"',
  `${'['.repeat(500)}${']'.repeat(500)}`,
]

const scripts =
  'ASCII · Grüße, naïve · Привет · Ελληνικά · עברית · العربية · हिन्दी · বাংলা · ไทย · 中文繁體简体 · 日本語 · 한국어 · 👩‍👩‍👧‍👦 🇪🇺 · é e\u0301 · \u{10ffff}'

const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte)

export const bodyCases: readonly Case[] = [
  ...jsonTexts.map(
    (text): Case => ({
      claim: `the JSON ${text.length > 60 ? `${text.slice(0, 60)}…` : JSON.stringify(text)} comes back byte for byte`,
      async run(target) {
        const queue = await newQueue(target)
        await queue.send(`{"body":${text}}`)
        const first = bodyText(await queue.post('receive', { body: {} }))
        const peeked = bodyText(await call(target, 'GET', `${queue.path}/messages`))
        await queue.send(`{ "messages" : [ {"type":"x", "body" : ${text} , "headers":{}} ] }`)
        const second = bodyText(await queue.post('receive', { body: {} }))

        assert.deepEqual([first, second, peeked], [text, text, text])
      },
    }),
  ),
  {
    claim: 'a raw body of a type that merely begins like application/json comes back as it is',
    async run(target) {
      const queue = await newQueue(target)
      const patch = '[{"op":"replace","path":"/a","value":1}]'
      await queue.post('messages', { body: patch, contentType: 'application/json-patch+json; charset=utf-8' })
      await queue.post('messages', { body: '\u001e{"a":1}', contentType: 'application/json-seq' })

      const { messages } = json<ReceiveResponse>(await queue.post('receive', { body: { max: 2 } }), 200)

      assert.deepEqual(
        messages.map(({ encoding, body, contentType }) => [encoding, body, contentType]),
        [
          ['json', JSON.parse(patch), 'application/json-patch+json; charset=utf-8'],
          ['base64', btoa('\u001e{"a":1}'), 'application/json-seq'],
        ],
      )
    },
  },
  {
    claim: 'text in many scripts comes back as JSON, as text, raw, and in headers and type',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: scripts, type: scripts.slice(0, 100), headers: { [scripts]: scripts } })
      await queue.send({ body: scripts, encoding: 'text' })
      await queue.post('messages', { body: scripts, contentType: 'text/plain; charset=utf-8' })

      const [asJson, asText, raw] = await queue.receive({ max: 3 })

      assert.deepEqual(
        [asJson, asText, raw].map((message) => [message?.encoding, message?.body]),
        [
          ['json', scripts],
          ['text', scripts],
          ['text', scripts],
        ],
      )
      assert.equal(asJson?.type, scripts.slice(0, 100))
      assert.deepEqual(asJson?.headers, { [scripts]: scripts })
    },
  },
  {
    claim: 'headers of 16 KiB, as Postgres prints them, come back as they are',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { a: 'x'.repeat(16_366), b: '' }

      await queue.send({ body: 1, headers })

      assert.deepEqual((await queue.receiveOne()).headers, headers)
    },
  },
  {
    claim: 'a raw body with a text type is text, with its content type and the metadata of the query',
    async run(target) {
      const queue = await newQueue(target, { maxPriority: 5 })
      const sent = await queue.post('messages?type=note&priority=5&dedupId=once', {
        body: '\ufeff1.0 "not JSON"\r\n',
        contentType: 'text/csv; header=present',
      })
      assert.equal(sent.status, 201, sent.text)

      const message = await queue.receiveOne()

      assert.equal(message.encoding, 'text')
      assert.equal(message.body, '\ufeff1.0 "not JSON"\r\n')
      assert.equal(message.contentType, 'text/csv; header=present')
      assert.equal(message.type, 'note')
      assert.equal(message.priority, 5)
    },
  },
  {
    claim: 'a raw body with any other type is bytes, all 256 of them, and so is one without a type',
    async run(target) {
      const queue = await newQueue(target)
      for (const contentType of ['application/octet-stream', 'image/png', null]) {
        const sent = await queue.post('messages', { body: everyByte, contentType })
        assert.equal(sent.status, 201, sent.text)
      }

      const messages = await queue.receive({ max: 3 })

      for (const message of messages) {
        assert.equal(message.encoding, 'base64')
        assert.deepEqual(Buffer.from(message.body as string, 'base64'), Buffer.from(everyByte))
      }
      assert.deepEqual(
        messages.map(({ contentType }) => contentType),
        ['application/octet-stream', 'image/png', 'application/octet-stream'],
      )
    },
  },
  {
    claim: 'a raw body whose type says text but which is none comes back as bytes',
    needs: 'hands on broken text',
    async run(target) {
      const queue = await newQueue(target)
      await queue.post('messages', { body: everyByte, contentType: 'text/plain' })
      await queue.post('messages', { body: 'a\0b', contentType: 'text/plain' })

      const [bytes, zero] = await queue.receive({ max: 2 })

      assert.deepEqual([bytes?.encoding, zero?.encoding], ['base64', 'base64'])
      assert.deepEqual(Buffer.from(bytes?.body as string, 'base64'), Buffer.from(everyByte))
      assert.equal(Buffer.from(zero?.body as string, 'base64').toString(), 'a\0b')
    },
  },
  {
    claim: 'a raw body with a +json type is JSON, byte for byte, and is refused if it is none',
    async run(target) {
      const queue = await newQueue(target)
      const event = '{ "specversion": "1.0", "data": 1.0 }'
      const contentType = 'application/vnd.event+json; charset=utf-8'
      const sent = await queue.post('messages', { body: event, contentType })
      assert.equal(sent.status, 201, sent.text)

      const received = await queue.post('receive', { body: {} })

      assert.equal(bodyText(received), event)
      assert.match(received.text, /"contentType":"application\/vnd.event\+json; charset=utf-8"/)
      assertProblem(await queue.post('messages', { body: '{"a":}', contentType }), 'json_invalid')
      assertProblem(await queue.post('messages', { body: '', contentType }), 'json_invalid')
      assertProblem(
        await queue.post('messages', { body: Buffer.from('"\xff"', 'latin1'), contentType }),
        'json_invalid',
      )
    },
  },
  {
    claim: 'a compressed body is refused, of any type: bodies are taken as they are',
    async run(target) {
      const queue = await newQueue(target)
      const body = gzipSync('{"body":1}')
      const detail = /^content-encoding must not be given: bodies are taken as they are, got gzip$/
      const headers = { 'content-encoding': 'gzip' }

      for (const contentType of ['text/plain', 'application/octet-stream', 'application/json', null]) {
        assertProblem(await queue.post('messages', { body, contentType, headers }), 'request_invalid', detail)
      }
      assertProblem(await queue.post('receive', { body, headers }), 'request_invalid', detail)
      const plain = await queue.post('messages', { body: { body: 1 }, headers: { 'content-encoding': 'identity' } })

      assert.equal(plain.status, 201, plain.text)
      assert.equal((await queue.receive({ max: 9 })).length, 1)
    },
  },
  {
    claim:
      'JSON that says it is a form, as curl does unasked, is refused with what to say instead; a form is kept as text',
    async run(target) {
      const queue = await newQueue(target)
      const contentType = 'application/x-www-form-urlencoded'
      const exchange = `/v1/exchanges/${queue.name}`
      assert.equal((await call(target, 'PUT', exchange, { body: { type: 'fanout' } })).status, 201)
      const texts = ['body=1&type=a', '7', '"7"', '{', '']

      for (const body of ['{"body":1}', ' {"messages":[{"body":1}]}\n', '[1]']) {
        const advice =
          /^the request body is JSON and must say so, with curl -H 'content-type: application\/json', got .*-form/
        assertProblem(await queue.post('messages', { body, contentType }), 'request_invalid', advice)
        assertProblem(await queue.post('messages', { body, contentType: `${contentType}; a=b` }), 'request_invalid')
        assertProblem(
          await call(target, 'POST', `${exchange}/publish`, { body, contentType }),
          'request_invalid',
          advice,
        )
      }
      for (const body of texts) assert.equal((await queue.post('messages', { body, contentType })).status, 201)
      await queue.post('messages', { body: '{"body":1}', contentType: 'text/plain' })

      const bodies = (await queue.peek()).messages.map(({ encoding, body }) => `${encoding} ${body}`)
      assert.deepEqual(
        bodies,
        [...texts, '{"body":1}'].map((body) => `text ${body}`),
      )
    },
  },
  {
    claim: 'bytes in base64 within JSON come back, and what is no base64 is refused',
    async run(target) {
      const queue = await newQueue(target)
      const body = Buffer.from(everyByte).toString('base64')
      await queue.send({
        messages: [
          { body, encoding: 'base64' },
          { body: '', encoding: 'base64' },
        ],
      })

      const [bytes, none] = await queue.receive({ max: 2 })

      assert.deepEqual([bytes?.encoding, bytes?.body], ['base64', body])
      assert.deepEqual([none?.encoding, none?.body], ['base64', ''])
      for (const wrong of ['a', 'abc', '_-==', 'ab c=', 7, null]) {
        const refused = await queue.post('messages', { body: { body: wrong, encoding: 'base64' } })
        assertProblem(refused, 'request_invalid', /^body must be /)
      }
    },
  },
  {
    claim: 'empty bodies are bodies',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: '', encoding: 'text' })
      await queue.post('messages', { body: '', contentType: 'text/plain' })
      await queue.post('messages', { body: new Uint8Array(), contentType: 'application/octet-stream' })

      const messages = await queue.receive({ max: 3 })

      assert.deepEqual(
        messages.map(({ encoding, body }) => [encoding, body]),
        [
          ['text', ''],
          ['text', ''],
          ['base64', ''],
        ],
      )
    },
  },
  {
    claim: 'a JSON request that is not UTF-8 is refused, not repaired',
    needs: 'hands on broken text',
    async run(target) {
      const queue = await newQueue(target)
      const body = Buffer.from('{"body":"caf\xe9"}', 'latin1')

      assertProblem(await queue.post('messages', { body }), 'json_invalid')

      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'text with U+0000 or half a surrogate pair is refused as text, with a word on what to do instead',
    async run(target) {
      const queue = await newQueue(target)
      for (const text of ['"a\\u0000b"', '"a\\ud800b"']) {
        const refused = await queue.post('messages', { body: `{"encoding":"text","body":${text}}` })
        assertProblem(refused, 'request_invalid', /well-formed text .* base64/)
      }
    },
  },
  ...[
    { what: 'JSON', body: (size: number) => `{"body":"${'x'.repeat(size - 2)}"}` },
    {
      what: 'text',
      body: (size: number) => `{"encoding":"text","body":"${'é'.repeat(size / 2)}${'x'.repeat(size % 2)}"}`,
    },
    {
      what: 'base64',
      body: (size: number) => `{"encoding":"base64","body":"${Buffer.alloc(size, 7).toString('base64')}"}`,
    },
    { what: 'raw text', body: (size: number) => 'x'.repeat(size), contentType: 'text/plain' },
    { what: 'raw bytes', body: (size: number) => Buffer.alloc(size, 255), contentType: 'application/octet-stream' },
    { what: '+json', body: (size: number) => `"${'x'.repeat(size - 2)}"`, contentType: 'application/x+json' },
  ].map(
    ({ what, body, contentType = 'application/json' }): Case => ({
      claim: `a ${what} body of exactly 1 MiB is taken, and one byte more is refused`,
      async run(target) {
        const queue = await newQueue(target)

        const taken = await queue.post('messages', { body: body(mebibyte), contentType })
        const refused = await queue.post('messages', { body: body(mebibyte + 1), contentType })

        assert.equal(taken.status, 201, taken.text)
        assertProblem(refused, 'body_too_large', /must be at most 1048576 bytes, got 1048577/)
        const [only, ...more] = await queue.receive({ max: 2 })
        assert.deepEqual(more, [])
        const bytes = only?.encoding === 'base64' ? Buffer.from(only.body as string, 'base64') : null
        const size = bytes ?? Buffer.from(only?.encoding === 'json' ? JSON.stringify(only.body) : String(only?.body))
        assert.equal(size.length, mebibyte)
      },
    }),
  ),
]
