/* postbag peek: messages as a table or as JSON, those that fit the filters, and one in full. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, describe, test } from 'node:test'
import { messageSheet } from '../../src/cli/message-sheet.ts'
import { type Client, createClient } from '../../src/client/index.ts'
import type { PeekedMessage } from '../../src/wire.ts'
import { createPlace, jsonLines, type Outcome, postbag } from './command.ts'

let client: Client
let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  const place = await createPlace()
  client = createClient(place)
  run = (...args) => postbag(args, { env: place.env })
})

describe('postbag peek', () => {
  test('shows messages as a table, a page at a time, and takes none', async () => {
    const queue = client.queue('peeked')
    await queue.create()
    await queue.sendBatch([
      { body: { id: 1 }, type: 'order.created' },
      { body: 'a\u001b[2Jb\nc', encoding: 'text', group: 'customer-7\u001b]0;x\u0007', type: 'a\nb\u009b2J' },
      { body: Uint8Array.from([255]) },
    ])

    const { stdout } = await run('peek', 'peeked', '--max', '2')
    const next = /--after (\d+)/.exec(stdout)?.[1] ?? ''
    const rest = await run('peek', 'peeked', '--after', next)

    const [headings, first, second] = stdout.split('\n')
    assert.match(headings ?? '', /^ID +STATE +ATTEMPTS +SENT AT +GROUP +TYPE +BODY$/)
    assert.match(first ?? '', /^\d+ +ready +0 +\S+ +- +order\.created +\{"id":1\}$/)
    assert.match(
      second ?? '',
      /^\d+ +ready +0 +\S+ +customer-7 \]0;x +a b 2J +a \[2Jb c$/,
      'nothing that a terminal would obey',
    )
    assert.match(rest.stdout, /\(bytes\) \/w==\n$/)
    assert.equal((await queue.stats()).ready, 3)
  })

  test('prints whole messages as JSON, with their bodies as they were sent', async () => {
    const queue = client.queue('peeked-json')
    await queue.create()
    await run('send', 'peeked-json', '{"n": 1.0}')

    const { stdout } = await run('peek', 'peeked-json', '--json')

    assert.match(stdout, /,"body":\{"n": 1\.0\}\}\n$/)
    assert.equal(jsonLines(stdout)[0]?.['state'], 'ready')
  })

  test('says that there is none', async () => {
    await client.queue('bare').create()

    assert.equal((await run('peek', 'bare')).stdout, 'There is no message in bare.\n')
    assert.equal((await run('peek', 'bare', '--type', 'x')).stdout, 'There is no such message in bare.\n')
    assert.equal((await run('peek', 'bare', '--json')).stdout, '')
  })

  test('asks page after page until it has found as many as are wanted', async (t) => {
    const asked: string[] = []
    const message = { encoding: 'text', headers: {}, priority: 0, attempts: 0, sentAt: '2026-01-02T03:04:05Z' }
    const found = (id: string) => ({ ...message, id, state: 'ready', body: id })
    const pages = [
      { messages: [], next: '10000' },
      { messages: [found('10007')], next: '20000' },
      { messages: [found('20001'), found('20002')], next: '20002' },
    ]
    const server = createServer((request, response) => {
      asked.push(request.url ?? '')
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(pages.shift()))
    })
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    t.after(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

    const { stdout } = await postbag(['peek', 'x', '--contains', 'needle', '--max', '3', '--url', url])

    assert.deepEqual(asked, [
      '/v1/queues/x/messages?contains=needle&max=3',
      '/v1/queues/x/messages?contains=needle&max=3&after=10000',
      '/v1/queues/x/messages?contains=needle&max=2&after=20000',
    ])
    assert.deepEqual(stdout.match(/^\d+/gm), ['10007', '20001', '20002'])
    assert.match(stdout, /\nThere are more: --after 20002\n$/)
  })
})

describe('a filter', () => {
  let id: string

  before(async () => {
    const queue = client.queue('filtered')
    await queue.create()
    const sent = await queue.sendBatch([
      { body: 'rejected', type: 'order.created', headers: { tenant: 'acme' } },
      { body: 'leased', type: 'order.created', headers: { tenant: 'other', region: 'eu' } },
      { body: 'ready', group: 'customer-7' },
      { body: 'delayed', delaySeconds: 60 },
    ])
    id = sent[0]?.id ?? ''
    const [rejected] = await queue.receive({ max: 2 })
    await rejected?.reject('no such customer')
  })

  for (const [options, found] of [
    [['--state', 'delayed'], ['delayed']],
    [
      ['--type', 'order.created'],
      ['rejected', 'leased'],
    ],
    [['--header', 'tenant=other', '--header', 'region=eu'], ['leased']],
    [['--group', 'customer-7'], ['ready']],
    [['--contains', 'reject'], ['rejected']],
    [['--reason', 'rejected', '--state', 'dead'], ['rejected']],
    [['--min-age', '1h'], []],
    [['--max-age', '1h', '--type', 'order.created', '--max', '1'], ['rejected']],
  ] as const) {
    test(`shows only what fits: ${options.join(' ')}`, async () => {
      const { stdout } = await run('peek', 'filtered', ...options, '--json')

      assert.deepEqual(
        jsonLines(stdout).map(({ body }) => body),
        found,
      )
    })
  }

  test('that is an id shows that message in full', async () => {
    const { stdout } = await run('peek', 'filtered', id)
    const json = await run('peek', 'filtered', id, '--json')

    assert.match(stdout, /^state +dead \(rejected\)$/m)
    assert.match(stdout, /^last error +no such customer$/m)
    assert.match(stdout, /\n\n"rejected"\n$/)
    assert.equal(JSON.parse(json.stdout).deadReason, 'rejected')
  })

  test('that is an id of no message is an error', async () => {
    const { code, stderr } = await run('peek', 'filtered', '999999')

    assert.equal(code, 1)
    assert.match(stderr, /999999.*\(message_not_found\)/)
  })
})

test('a message in full is all that is known of it, and nothing that a terminal would obey', () => {
  const message: PeekedMessage = {
    id: '17',
    encoding: 'text',
    body: 'first line\n\u001b[31msecond',
    type: 'order.created',
    headers: { tenant: 'acme', note: 'a\u0007b' },
    priority: 3,
    group: 'customer-7',
    attempts: 5,
    sentAt: '2026-01-02T03:04:05.000Z',
    state: 'delayed',
    availableAt: '2026-01-02T03:05:00.000Z',
    lastError: 'no stock',
    deadLetters: [
      { queue: 'orders', reason: 'attempts', error: 'no stock', attempts: 5, at: '2026-01-02T03:04:30.000Z' },
      { queue: 'late', reason: 'expired', attempts: 1, at: '2026-01-02T03:04:40.000Z' },
    ],
  }

  assert.equal(
    messageSheet({ message, bodyJson: JSON.stringify(message.body) }),
    [
      'id            17',
      'state         delayed',
      'type          order.created',
      'group         customer-7',
      'priority      3',
      'attempts      5',
      'sent at       2026-01-02T03:04:05.000Z',
      'available at  2026-01-02T03:05:00.000Z',
      'last error    no stock',
      'header        tenant=acme',
      'header        note=a b',
      'dead letter   2026-01-02T03:04:30.000Z in orders: attempts, after 5 attempts: no stock',
      'dead letter   2026-01-02T03:04:40.000Z in late: expired, after 1 attempt',
      '',
      'first line\n [31msecond',
    ].join('\n'),
  )
})
