/* postbag queue …, pause, resume and stats: what they do, and what they say to people and to machines. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Client, createClient, type QueueConfig } from '../../src/client/index.ts'
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
    assert.equal(stdout, 'Created queue plain: the default settings.\n')
    assert.equal((await client.queue('plain').info()).leaseSeconds, 30)
  })

  test('takes every setting that goes with the others, with times in any unit', async () => {
    const given: [option: string, value: string, field: keyof QueueConfig, meant: string | number][] = [
      ['--order', 'lifo', 'order', 'lifo'],
      ['--max-priority', '9', 'maxPriority', 9],
      ['--groups', 'fair', 'groups', 'fair'],
      ['--lease', '5m', 'leaseSeconds', 300],
      ['--delay', '1.5', 'delaySeconds', 1.5],
      ['--ttl', '7d', 'ttlSeconds', 604_800],
      ['--max-attempts', '5', 'maxAttempts', 5],
      ['--retry-delay', '10', 'retryDelaySeconds', 10],
      ['--retry-backoff', 'exponential', 'retryBackoff', 'exponential'],
      ['--retry-max-delay', '10m', 'retryMaxDelaySeconds', 600],
      ['--retry-jitter', '0.5', 'retryJitter', 0.5],
      ['--dead-letter-exchange', 'default', 'deadLetterExchange', 'default'],
      ['--dead-letter-routing-key', 'graves', 'deadLetterRoutingKey', 'graves'],
      ['--dead-letter-retention', '1d', 'deadLetterRetentionSeconds', 86_400],
      ['--dedup-window', '1d', 'dedupWindowSeconds', 86_400],
      ['--dedup-by', 'content', 'dedupBy', 'content'],
      ['--dedup-scope', 'group', 'dedupScope', 'group'],
      ['--max-messages', '1000', 'maxMessages', 1000],
      ['--max-bytes', '1MiB', 'maxBytes', 1_048_576],
      ['--overflow', 'drop-oldest', 'overflow', 'drop-oldest'],
      ['--max-in-flight', '10', 'maxInFlight', 10],
      ['--rate', '600/m', 'ratePerSecond', 10],
      ['--rate-burst', '20', 'rateBurst', 20],
      ['--group-rate', '30/m', 'groupRatePerSecond', 0.5],
      ['--group-rate-burst', '2', 'groupRateBurst', 2],
      ['--durability', 'relaxed', 'durability', 'relaxed'],
    ]
    const options = given.flatMap((row) => row.slice(0, 2) as string[])

    const { stdout } = await run('queue', 'create', 'set', ...options, '--json')
    const help = await run('queue', 'create', '--help')

    const { name, paused, createdAt, updatedAt, origins, ...config } = JSON.parse(stdout)
    assert.deepEqual(config, Object.fromEntries(given.map(([, , field, meant]) => [field, meant])))
    for (const option of help.stdout.match(/^ {2}--[\w-]+/gm) ?? []) {
      const notTried = ['--json', '--url', '--token', '--dead-letter-queue']
      assert.ok([...options, ...notTried].includes(option.trim()), `${option} is tried here`)
    }
  })

  test('says so if it replaced the settings of one that was there', async () => {
    await run('queue', 'create', 'twice', '--lease', '60')

    const { stdout } = await run('queue', 'create', 'twice', '--delay', '3')

    assert.equal(stdout, 'Replaced the settings of queue twice: delay 3 s.\n')
  })

  for (const [problem, args, sentence] of [
    ['a bad name', ['no spaces please'], /queue must be 1 to 80 letters.*got "no spaces please" \(request_invalid\)/],
    [
      'a lease out of range',
      ['x', '--lease', '13h'],
      /leaseSeconds must be between 0 and 43200, got 46800 \(request_invalid\)/,
    ],
    ['a priority out of range', ['x', '--max-priority', '10'], /maxPriority must be between 0 and 9, got 10/],
    ['a burst without a rate', ['x', '--rate-burst', '10'], /rateBurst.*\(request_invalid\)/],
    ['a dead letter queue that is not there', ['x', '--dead-letter-queue', 'nowhere'], /nowhere/],
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
    await run('pause', 'listed.b')

    const { stdout } = await run('queue', 'list', '--prefix', 'listed.')

    const [headings, a, b, ...rest] = stdout.trimEnd().split('\n')
    assert.match(headings ?? '', /^NAME +STATE +CREATED AT +SETTINGS$/)
    assert.match(a ?? '', /^listed\.a +open +\d{4}-\S+ +max priority 3$/)
    assert.match(b ?? '', /^listed\.b +paused +\d{4}-\S+ +lease 1 h$/)
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
    await run('queue', 'create', 'shown', '--lease', '90', '--max-bytes', '64KiB', '--rate', '10')

    const { stdout } = await run('queue', 'show', 'shown')

    for (const line of [
      /^name +shown$/m,
      /^paused +no$/m,
      /^lease +90 s \(the queue itself\)$/m,
      /^max attempts +no limit$/m,
      /^dead letter queue +none$/m,
      /^dead letter retention +14 d$/m,
      /^max bytes +65,536 bytes \(the queue itself\)$/m,
      /^rate +10\/s \(the queue itself\)$/m,
      /^created at +\d{4}-/m,
    ]) {
      assert.match(stdout, line)
    }
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
    ['peek', 'absent', '1'],
    ['pause', 'absent'],
    ['resume', 'absent'],
    ['redrive', 'absent'],
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

describe('postbag pause', () => {
  test('keeps messages back until postbag resume', async () => {
    const queue = client.queue('held')
    await queue.create()
    await queue.send(1)

    const paused = await run('pause', 'held')
    const none = await run('receive', 'held')
    const resumed = await run('resume', 'held')
    const some = await run('receive', 'held', '--body')

    assert.equal(paused.stdout, 'Paused queue held: "postbag resume held" lets it go on.\n')
    assert.equal(resumed.stdout, 'Resumed queue held.\n')
    assert.deepEqual([none.code, some.code, some.stdout], [3, 0, '1\n'])
  })

  test('tells machines what the queue is now', async () => {
    await client.queue('held-json').create()

    const paused = await run('pause', 'held-json', '--json')
    const resumed = await run('resume', 'held-json', '--json')

    assert.deepEqual([JSON.parse(paused.stdout).paused, JSON.parse(resumed.stdout).paused], [true, false])
  })
})

describe('postbag stats', () => {
  test('counts messages by their state, and says how fresh that is', async () => {
    const queue = client.queue('counted')
    await queue.create()
    await queue.sendBatch([
      { body: 'dead' },
      { body: 'leased', group: 'a' },
      { body: 'blocked', group: 'a' },
      { body: 'ready' },
      { body: 'delayed', delaySeconds: 100 },
    ])
    const [dead] = await queue.receive({ max: 2 })
    await dead?.reject()

    const people = await run('stats', 'counted')
    const machines = await run('stats', 'counted', '--json')

    const [states, rates] = [people.stdout.split('\n').slice(0, 6), people.stdout.split('\n').slice(6)]
    assert.match(states.join('\n'), /^ready +1\nleased +1\ndelayed +1\nblocked +1\ndead +1\nbytes +\d\d$/)
    assert.match(rates[0] ?? '', /^oldest +ready since \d{4}-\S+ \(\d+ s ago\)$/)
    assert.match(rates.slice(1, 3).join('\n'), /^in +[\d.]+\/s\nout +[\d.]+\/s$/)
    assert.match(rates[3] ?? '', /^Counted at \d{4}-\S+ \(\d+ s ago\)\.$/)
    const { ready, leased, delayed, blocked, capped } = JSON.parse(machines.stdout)
    assert.deepEqual(
      { ready, leased, delayed, blocked, capped },
      { ready: 1, leased: 1, delayed: 1, blocked: 1, capped: false },
    )
  })

  test('of an empty queue are zeros', async () => {
    await client.queue('empty').create()

    const { stdout } = await run('stats', 'empty')

    assert.match(stdout, /^ready +0\n.*\noldest +-\nin +0\/s\nout +0\/s\n/s)
  })
})
