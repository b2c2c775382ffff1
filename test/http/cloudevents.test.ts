/* What the CloudEvents SDK for JavaScript writes we read, and it reads what we write: in all modes, compared as a whole. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startServer } from '../../functions/node.ts'
import { CloudEvent, type CloudEventV1, HTTP, type Message } from '../runtimes/cloudevents.ts'
import { createDatabase } from '../support/database.ts'

const { url: databaseUrl } = await createDatabase()
const server = await startServer({
  access: { kind: 'open' },
  databaseUrl,
  host: '127.0.0.1',
  port: 0,
  log: () => {},
})
test.after(() => server.stop())

const common = {
  source: 'https://example.com/orders?page=1',
  type: 'com.example.order.created',
  time: '2026-01-31T12:00:00.123Z',
}

const events: readonly CloudEvent<unknown>[] = [
  new CloudEvent({ ...common, id: '1', datacontenttype: 'application/json', data: { id: 1, items: [null, 'ü', 1.5] } }),
  new CloudEvent({
    ...common,
    id: '2',
    subject: '100%-"sub/ject"',
    dataschema: 'https://example.com/schema',
    datacontenttype: 'application/json; charset=utf-8',
    data: ['a'],
    tenant: 'blue',
    partitionkey: 'customer-7',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  }),
  new CloudEvent({ ...common, id: '3', datacontenttype: 'text/plain', data: 'plain text' }),
  new CloudEvent({
    ...common,
    id: '4',
    datacontenttype: 'application/octet-stream',
    data: Uint8Array.of(0, 1, 254, 255),
  }),
  new CloudEvent({
    ...common,
    id: '5',
    datacontenttype: 'application/json',
    data: { typed: true },
    flag: true,
    sequence: 5,
  }),
]

/** A queue of its own. */
async function newQueue(name: string) {
  const path = `${server.url}/v1/queues/${name}`
  assert.equal((await fetch(path, { method: 'PUT' })).status, 201)
  return {
    async send({ headers, body }: Message): Promise<void> {
      const answer = await fetch(`${path}/messages`, {
        method: 'POST',
        headers: headers as HeadersInit,
        body: body as BodyInit,
      })
      assert.equal(answer.status, 201, await answer.text())
    },
    receive: (request: object, accept = '*/*', query = '') =>
      fetch(`${path}/receive${query}`, { method: 'POST', headers: { accept }, body: JSON.stringify(request) }),
  }
}

/** What the SDK makes of an answer, without the attributes of the lease. */
async function parsed(response: Response, body: unknown): Promise<object> {
  const event = HTTP.toEvent({ headers: Object.fromEntries(response.headers), body })
  assert.ok(!Array.isArray(event))
  return withoutLease(event as CloudEventV1<unknown>)
}

function withoutLease(event: CloudEventV1<unknown>): object {
  const kept = Object.entries({ ...event }).filter(([name]) => !name.startsWith('postbag'))
  assert.ok(typeof event['postbagreceipt'] === 'string')
  return Object.fromEntries(kept)
}

/** What the SDK itself makes of what it has written. */
function itself(message: Message): object {
  return { ...(HTTP.toEvent(message) as CloudEvent<unknown>) }
}

test('structured events of the SDK come back as the SDK itself reads them', async () => {
  const queue = await newQueue('structured')
  for (const event of events) {
    await queue.send(HTTP.structured(event))
    const answer = await queue.receive({}, 'application/cloudevents+json')

    assert.deepEqual(await parsed(answer, await answer.text()), itself(HTTP.structured(event)))
  }
})

test('a batch of events comes back as the events that they were', async () => {
  const queue = await newQueue('batch')
  const headers = { 'content-type': 'application/cloudevents-batch+json' }
  await queue.send({ headers, body: JSON.stringify(events) })

  const answer = await queue.receive({ max: 100 }, 'application/cloudevents-batch+json')
  const came = HTTP.toEvent({ headers: Object.fromEntries(answer.headers), body: await answer.text() })

  assert.ok(Array.isArray(came))
  assert.deepEqual(
    came.map(withoutLease),
    events.map((event) => ({ ...new CloudEvent(JSON.parse(JSON.stringify(event))) })),
  )
})

test('events in binary mode come back as the SDK itself reads them', async () => {
  const queue = await newQueue('binary')
  // (The SDK neither writes nor reads percent-encoding: such values are for the next test.)
  for (const event of events.filter(({ subject }) => subject === undefined)) {
    const message = HTTP.binary(event)
    await queue.send(message)
    const answer = await queue.receive({}, '*/*', '?cloudevents=binary')
    const isBytes = event.data instanceof Uint8Array

    // On the way, all that is not text already becomes text.
    const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]))
    assert.deepEqual(
      await parsed(answer, isBytes ? new Uint8Array(await answer.arrayBuffer()) : await answer.text()),
      itself({ headers, body: message.body }),
    )
  }
})

test('what comes in binary mode goes out structured, and the other way round', async () => {
  const queue = await newQueue('both')
  for (const event of events.filter(({ id }) => id === '1' || id === '3')) {
    await queue.send(HTTP.binary(event))
    const structured = await queue.receive({}, 'application/cloudevents+json')
    assert.deepEqual(await parsed(structured, await structured.text()), { ...event })
  }
  await queue.send(HTTP.structured(events[1] as CloudEvent<unknown>))
  const binary = await queue.receive({}, '*/*', '?cloudevents=binary')
  assert.deepEqual(await parsed(binary, await binary.text()), { ...events[1], subject: '100%25-%22sub/ject%22' })
})
