/* postbag queue …, stats and peek: what they do, and what they say to people and to machines. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Client, createClient } from '../../src/client/index.ts'
import { createPlace, jsonLines, type Outcome, postbag } from './command.ts'

let client: Client
let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  const place = await createPlace()
  client = createClient(place)
  run = (...args) => postbag(args, { env: place.env })
})

describe('postbag queue create', () => {
  test('makes a queue with the defaults', async () => {
    const { code, stdout } = await run('queue', 'create', 'plain')

    assert.equal(code, 0)
    assert.equal(stdout, 'Created queue plain: lease 30 s, delay 0 s, no priorities, dedup window 5 min.\n')
    assert.equal((await client.queue('plain').info()).leaseSeconds, 30)
  })

  test('takes every setting, with times in any unit', async () => {
    const settings = ['--lease', '5m', '--delay', '1.5', '--max-priority', '9', '--dedup-window', '1d']

    const { stdout } = await run('queue', 'create', 'set', ...settings, '--json')

    const { createdAt, updatedAt, ...info } = JSON.parse(stdout)
    assert.deepEqual(info, {
      name: 'set',
      leaseSeconds: 300,
      delaySeconds: 1.5,
      maxPriority: 9,
      dedupWindowSeconds: 86_400,
    })
  })

  test('says so if it replaced the settings of one that was there', async () => {
    await run('queue', 'create', 'twice', '--lease', '60')

    const { stdout } = await run('queue', 'create', 'twice', '--delay', '3')

    assert.equal(
      stdout,
      'Replaced the settings of queue twice: lease 30 s, delay 3 s, no priorities, dedup window 5 min.\n',
    )
  })

  for (const [problem, args, sentence] of [
    ['a bad name', ['no spaces please'], /queue must be 1 to 80 letters.*got "no spaces please" \(request_invalid\)/],
    [
      'a lease out of range',
      ['x', '--lease', '13h'],
      /leaseSeconds must be between 0 and 43200, got 46800 \(request_invalid\)/,
    ],
    ['a priority out of range', ['x', '--max-priority', '10'], /maxPriority must be between 0 and 9, got 10/],
  ] as const) {
    test(`refuses ${problem}`, async () => {
      const { code, stdout, stderr } = await run('queue', 'create', ...args)

      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, sentence)
    })
  }
})

describe('postbag queue list', () => {
  test('shows a table of those with a prefix', async () => {
    await run('queue', 'create', 'listed.a', '--max-priority', '3')
    await run('queue', 'create', 'listed.b', '--lease', '1h')

    const { stdout } = await run('queue', 'list', '--prefix', 'listed.')

    const [headings, a, b, ...rest] = stdout.trimEnd().split('\n')
    assert.match(headings ?? '', /^NAME +LEASE +DELAY +PRIORITIES +DEDUP +CREATED AT$/)
    assert.match(a ?? '', /^listed\.a +30 s +0 s +0 – 3 +5 min +\d{4}-/)
    assert.match(b ?? '', /^listed\.b +1 h +0 s +- +5 min +\d{4}-/)
    assert.deepEqual(rest, [])
  })

  test('shows all, however many pages they are, a line of JSON each', async () => {
    const names = Array.from({ length: 103 }, (_, index) => `many.${1000 + index}`)
    await Promise.all(names.map((name) => client.queue(name).create()))

    const { stdout } = await run('queue', 'list', '--prefix', 'many.', '--json')

    assert.deepEqual(
      jsonLines<{ name: string }>(stdout).map(({ name }) => name),
      names,
    )
  })

  test('says that there is none', async () => {
    const { code, stdout } = await run('queue', 'list', '--prefix', 'none.')

    assert.equal(code, 0)
    assert.match(stdout, /no queue whose name begins with none\./)
    assert.equal((await run('queue', 'list', '--prefix', 'none.', '--json')).stdout, '')
  })
})

describe('postbag queue show', () => {
  test('shows the settings', async () => {
    await run('queue', 'create', 'shown', '--lease', '90')

    const { stdout } = await run('queue', 'show', 'shown')

    assert.match(stdout, /^name +shown\nlease +90 s\ndelay +0 s\nmax priority +0\ndedup window +5 min\ncreated at/)
    assert.equal(JSON.parse((await run('queue', 'show', 'shown', '--json')).stdout).leaseSeconds, 90)
  })
})

describe('a queue that does not exist', () => {
  for (const args of [
    ['queue', 'show', 'absent'],
    ['queue', 'delete', 'absent', '--yes'],
    ['queue', 'delete', 'absent'],
    ['queue', 'purge', 'absent', '--yes'],
    ['stats', 'absent'],
    ['peek', 'absent'],
    ['send', 'absent', 'hello'],
    ['receive', 'absent'],
    ['receive', 'absent', '--follow'],
  ]) {
    test(`is an error of postbag ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await run(...args)

      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, /^error: .*absent.*\(queue_not_found\)\n.*postbag queue create/)
    })
  }
})

describe('deleting', () => {
  test('a queue takes its messages along and says how many', async () => {
    const queue = client.queue('doomed')
    await queue.create()
    await queue.sendBatch([{ body: 1 }, { body: 2 }])

    const { code, stdout } = await run('queue', 'delete', 'doomed', '--yes')

    assert.equal(code, 0)
    assert.equal(stdout, 'Deleted the queue doomed and 2 messages.\n')
    await assert.rejects(queue.info(), { code: 'queue_not_found' })
  })

  test('the messages of a queue leaves the queue', async () => {
    const queue = client.queue('purged')
    await queue.create()
    await queue.send(1)

    const { stdout } = await run('queue', 'purge', 'purged', '--yes', '--json')

    assert.deepEqual(JSON.parse(stdout), { purgedMessages: 1 })
    assert.deepEqual((await queue.stats()).ready, 0)
  })

  for (const verb of ['delete', 'purge']) {
    test(`is refused where nobody can be asked, and the question says what would go (${verb})`, async () => {
      const queue = client.queue(`asked-${verb}`)
      await queue.create()
      await queue.send(1)

      const { code, stderr } = await run('queue', verb, `asked-${verb}`)

      assert.equal(code, 2)
      assert.match(stderr, new RegExp(`Delete .*1 message .*asked-${verb}|asked-${verb} and 1 message`))
      assert.match(stderr, /--yes/)
      assert.equal((await queue.stats()).ready, 1)
    })
  }
})

describe('postbag stats', () => {
  test('counts what is ready, leased and delayed', async () => {
    const queue = client.queue('counted')
    await queue.create()
    await queue.sendBatch([{ body: 1 }, { body: 2 }, { body: 3, delaySeconds: 100 }])
    await queue.receive()

    const people = await run('stats', 'counted')
    const machines = await run('stats', 'counted', '--json')

    assert.match(people.stdout, /^ready {4}1, the oldest since \d{4}-.*\nleased {3}1\ndelayed {2}1\n$/)
    const { oldestReadyAt, ...counts } = JSON.parse(machines.stdout)
    assert.deepEqual(counts, { ready: 1, leased: 1, delayed: 1, capped: false })
  })
})

describe('postbag peek', () => {
  test('shows messages as a table, a page at a time, and takes none', async () => {
    const queue = client.queue('peeked')
    await queue.create()
    await queue.sendBatch([
      { body: { id: 1 }, type: 'order.created' },
      { body: 'a\u001b[2Jb\nc', encoding: 'text' },
      { body: Uint8Array.from([255]) },
    ])

    const { stdout } = await run('peek', 'peeked', '--max', '2')
    const next = /--after (\d+)/.exec(stdout)?.[1] ?? ''
    const rest = await run('peek', 'peeked', '--after', next)

    assert.match(stdout, /^ID +STATE +ATTEMPTS +SENT AT +TYPE +BODY\n\d+ +ready +0 +\S+ +order\.created +\{"id":1\}\n/)
    assert.ok(!stdout.includes('\u001b'), 'nothing that a terminal would obey')
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

    assert.match((await run('peek', 'bare')).stdout, /^There is no message in bare/)
    assert.equal((await run('peek', 'bare', '--json')).stdout, '')
  })
})
