/* The attributes of an event come back from the headers of a message as they were, whatever their values. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { attributesOf, checkedAttributes, headersOf } from '../../src/http/event-attributes.ts'
import { isBase64 } from '../../src/http/message-schemas.ts'

const text = fc.string({ unit: 'binary' }).filter((text) => !/[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u.test(text))
const filled = text.filter((text) => text !== '')
const extension = fc.oneof(text, fc.boolean(), fc.integer(), fc.constantFrom('true', '5', '-0', '%41', '"'))
const name = fc.stringMatching(/^[a-z0-9]{1,20}$/).filter((name) => !/^(postbag|data$)/.test(name))

const event = fc
  .tuple(
    fc.dictionary(fc.oneof(name, fc.constantFrom('constructor', 'tostring', 'typed')), extension),
    fc.record(
      {
        id: filled,
        type: filled,
        source: fc.webUrl(),
        subject: filled,
        time: fc
          .date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') })
          .map((date) => date.toISOString()),
        datacontenttype: fc.constantFrom('application/json', 'text/plain; charset="x"'),
        dataschema: fc.webUrl(),
        partitionkey: filled,
      },
      { requiredKeys: ['id', 'type', 'source'] },
    ),
  )
  .map(([extensions, attributes]) => {
    const own = ['specversion', 'subject', 'time', 'datacontenttype', 'dataschema', 'partitionkey']
    const free = Object.entries(extensions).filter(([name]) => !own.includes(name))
    return { ...Object.fromEntries(free), ...attributes, specversion: '1.0' }
  })

test('every event’s attributes come back from the headers, type and content type that a message keeps', () => {
  fc.assert(
    fc.property(event, (event) => {
      const attributes = checkedAttributes(event, (name) => name)
      const headers = JSON.parse(JSON.stringify(headersOf(attributes, true)))

      const came = attributesOf(
        {
          id: '1',
          encoding: 'json',
          body: '1',
          type: String(attributes['type']),
          ...(attributes['datacontenttype'] !== undefined && { contentType: String(attributes['datacontenttype']) }),
          headers,
          priority: 0,
          attempts: 1,
          sentAt: '2026-01-01T00:00:00.000Z',
          receipt: 'r',
          firstReceivedAt: '2026-01-01T00:00:00.000Z',
          leasedUntil: '2026-01-01T00:00:00.000Z',
        },
        'queue',
      )
      assert.deepEqual(came, { ...event })
    }),
    { numRuns: 500 },
  )
})

test('what only looks like a number stays text', () => {
  for (const [text, expected] of [
    ['007', '007'],
    ['-0', '-0'],
    ['-', '-'],
    ['0', 0],
    ['-10', -10],
    ['true', true],
  ] as const) {
    const headers = { 'ce-specversion': '1.0', 'ce.typed': 'x', 'ce-x': text }
    const received = {
      ...{ id: '1', encoding: 'json' as const, body: '1', headers, priority: 0, attempts: 1, receipt: 'r' },
      ...{ sentAt: '2026-01-01T00:00:00.000Z', firstReceivedAt: '2026-01-01T00:00:00.000Z' },
      leasedUntil: '2026-01-01T00:00:00.000Z',
    } as const
    assert.equal(attributesOf(received, 'queue')['x'], expected)
  }
})

test('a source of megabytes is looked at, and so is base64', () => {
  const long = 'a'.repeat(12_000_000)
  const attributes = { specversion: '1.0', id: '1', type: 't' }
  assert.equal(checkedAttributes({ ...attributes, source: long }, (name) => name)['source'], long)
  assert.throws(() => checkedAttributes({ ...attributes, source: `${long}%4` }, (name) => name), /^QueueError: source/)
  assert.deepEqual([long, `${long.slice(0, -2)}==`, `${long.slice(0, -1)}-`, 'abc', 'ab=c', '===='].map(isBase64), [
    true,
    true,
    false,
    false,
    false,
    false,
  ])
})

const times: readonly (readonly [time: string, isOne: boolean])[] = [
  ['2026-01-31T12:00:00Z', true],
  ['2024-02-29t23:59:60.5z', true],
  ['2026-01-31T12:00:00.123456789-11:30', true],
  ['2026-02-29T12:00:00Z', false],
  ['2026-13-01T12:00:00Z', false],
  ['2026-01-31T24:00:00Z', false],
  ['2026-01-31T12:00:00', false],
  ['2026-01-31', false],
  ['2026-01-31T12:00:00+24:00', false],
]
for (const [time, isOne] of times) {
  test(`${time} is ${isOne ? 'a' : 'no'} time of RFC 3339`, () => {
    const check = () => checkedAttributes({ specversion: '1.0', id: '1', source: '/', type: 't', time }, (name) => name)
    if (isOne) assert.equal(check()['time'], time)
    else assert.throws(check, /^QueueError: time must be a time/)
  })
}
