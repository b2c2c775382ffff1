/* The attributes of an event come back from the headers of a message as they were, whatever their values. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { attributesOf, checkedAttributes, headersOf } from '../../src/http/event-attributes.ts'

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
