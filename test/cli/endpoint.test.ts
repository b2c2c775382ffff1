/* postbag endpoint … */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { webhooksHere } from '../../src/cli/webhook-key.ts'
import { serverConfig } from '../../src/config.ts'
import { until } from '../support/until.ts'
import { type Receiver, startReceiver } from '../webhooks/webhook-receiver.ts'
import { createPlace, jsonLines, type Outcome, type Place, postbag } from './command.ts'

const address = 'https://example.com/hook'
const open = serverConfig({})
const closed = serverConfig({ POSTBAG_SECRET: 'x'.repeat(32) })
let place: Place
let receiver: Receiver
let folder: string
let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  place = await createPlace()
  receiver = await startReceiver((_, response) => response.writeHead(500).end())
  folder = await mkdtemp(join(tmpdir(), 'postbag-endpoint-'))
  run = (...args) => postbag(args, { env: place.env })
  await run('exchange', 'declare', 'events', '--type', 'topic')
})

after(() => Promise.all([receiver.stop(), rm(folder, { recursive: true })]))

test('an endpoint is set, listed, shown, switched and deleted', async () => {
  assert.match((await run('endpoint', 'list')).stdout, /^There is no endpoint yet/)

  const set = await run(
    ...['endpoint', 'set', 'acme', address, '--exchange', 'events', '--event', 'order.*', '--event', 'user.#'],
    ...['--application', 'acme.inc', '--header', 'authorization=PRIVATE', '--retries', '10s,5m', '--rate', '60/m'],
  )
  const again = await run('endpoint', 'set', 'acme', address, '--exchange', 'events', '--event', 'order.*')
  await run('endpoint', 'set', 'other', address, '--exchange', 'events', '--application', 'acme.inc', '--retries', '')
  const list = await run('endpoint', 'list', '--application', 'acme.inc')
  const show = await run('endpoint', 'show', 'other')
  const paused = await run('endpoint', 'pause', 'other')
  const all = await run('endpoint', 'list')

  assert.match(set.stdout, /^Set endpoint acme: order\.\*, user\.# of events to https:\/\/example\.com\/hook\.$/m)
  assert.match(set.stdout, /^Its secret, which is not shown again: whsec_\S{44}$/m)
  assert.equal(again.stdout, 'Set endpoint acme: order.* of events to https://example.com/hook.\n')
  assert.match(list.stdout, /^NAME .*\nother +acme\.inc +enabled +events +# +https:\/\/example\.com\/hook\n$/)
  for (const line of [/^state +enabled$/m, /^retries +none$/m, /^timeout +15 s$/m, /^waiting +0$/m]) {
    assert.match(show.stdout, line)
  }
  assert.equal(paused.stdout, 'Paused endpoint other: "postbag endpoint resume other" lets it go on.\n')
  assert.match(all.stdout, /^other +acme\.inc +paused/m)
  assert.equal((await run('endpoint', 'resume', 'other')).stdout, 'Resumed endpoint other.\n')
  assert.match((await run('endpoint', 'disable', 'other')).stdout, /^Disabled endpoint other: /)
  assert.match((await run('endpoint', 'show', 'other')).stdout, /^state +disabled \(asked\)$/m)
  assert.equal((await run('endpoint', 'enable', 'other')).stdout, 'Enabled endpoint other.\n')
  const asked = await run('endpoint', 'delete', 'other')
  assert.deepEqual([asked.code, asked.stdout], [2, ''])
  const deleted = await run('endpoint', 'delete', 'other', '--yes')
  assert.equal(deleted.stdout, 'Deleted the endpoint other and 0 deliveries.\n')
})

test('headers are shown by their names only, and with --json everything but the secret', async () => {
  await run('endpoint', 'set', 'shown', address, '--exchange', 'events', '--header', 'x-key=PRIVATE', '--meta', 'a=b')

  const [show, json] = [await run('endpoint', 'show', 'shown'), await run('endpoint', 'show', 'shown', '--json')]

  assert.match(show.stdout, /^headers +x-key$/m)
  assert.equal(show.stdout.includes('PRIVATE'), false)
  const { headers, metadata, statistics } = JSON.parse(json.stdout)
  assert.deepEqual([headers, metadata, statistics.waiting], [{ 'x-key': 'PRIVATE' }, { a: 'b' }, 0])
  assert.equal(json.stdout.includes('whsec_'), false)
})

test('of a direct exchange an event type is a routing key as it stands, which the help says', async () => {
  await run('exchange', 'declare', 'exact', '--type', 'direct')
  await run('endpoint', 'set', 'all', receiver.url, '--exchange', 'exact')
  await run('endpoint', 'set', 'one', receiver.url, '--exchange', 'exact', '--event', 'order.new')

  const help = await run('endpoint', 'set', '--help')
  const tried = await run('exchange', 'test', 'exact', '--key', 'order.new')

  assert.match(help.stdout, /--exchange .*of type topic,\s+direct or fanout/)
  assert.match(help.stdout, /Of a direct exchange an event type is a routing key as it stands: without --event nothing/)
  assert.match(tried.stdout, /the queue webhooks\.one /)
  assert.doesNotMatch(tried.stdout, /webhooks\.all/)
})

test('a secret is rotated, made by the server or brought in a file', async () => {
  const file = join(folder, 'secret')
  await writeFile(file, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n')

  const set = await run('endpoint', 'set', 'keys', address, '--exchange', 'events', '--secret-file', file)
  const rotated = await run('endpoint', 'rotate', 'keys', '--overlap', '12h')
  const brought = await run('endpoint', 'rotate', 'keys', '--overlap', '0', '--secret-file', file)
  const json = await run('endpoint', 'rotate', 'keys', '--json')

  assert.equal(set.stdout.includes('whsec_'), false)
  assert.match(rotated.stdout, /^Rotated the secret of endpoint keys: those before it also sign for 12 h\.$/m)
  assert.match(rotated.stdout, /^Its secret, which is not shown again: whsec_\S{44}$/m)
  assert.equal(brought.stdout, 'Rotated the secret of endpoint keys: those before it sign no longer.\n')
  assert.match(String(jsonLines(json.stdout)[0]?.['secret']), /^whsec_/)
})

test('what was tried is shown, sent again and recovered', async () => {
  await run('endpoint', 'set', 'tried', receiver.url, '--exchange', 'events', '--event', 'tried', '--retries', '')
  assert.equal((await run('endpoint', 'attempts', 'tried')).stdout, 'There was no such attempt.\n')
  await run('publish', 'events', '{}', '--key', 'tried', '--type', 'tried')
  const [, id, event] = await until('the attempt', async () => {
    const { stdout } = await run('endpoint', 'attempts', 'tried')
    return /^\S+ +(\d+) +(evt_\d+) +tried +1 +\d+ ms +failed +500$/m.exec(stdout) ?? undefined
  })
  await run('endpoint', 'pause', 'tried')
  const counted = await run('endpoint', 'recover', 'tried', '--dry-run')
  const recovered = await run('endpoint', 'recover', 'tried', '--error-contains', 'status: 500', '--id', id ?? '')
  const resent = await run('endpoint', 'resend', 'tried', event ?? '')
  const tested = await run('endpoint', 'test', 'tried', '--json')
  const show = await run('endpoint', 'show', 'tried')
  const delivered = await run('endpoint', 'attempts', 'tried', '--outcome', 'delivered', '--json')

  assert.equal(counted.stdout, 'Would deliver 1 delivery of endpoint tried anew.\n')
  assert.equal(recovered.stdout, 'Delivers 1 delivery of endpoint tried anew.\n')
  assert.match(resent.stdout, /^Sent evt_\d+ to endpoint tried again, as delivery \d+\.$/m)
  assert.match(String(jsonLines(tested.stdout)[0]?.['eventId']), /^evt_\d+$/)
  assert.match(show.stdout, /^waiting +3, since \S+Z$/m)
  assert.match(show.stdout, /^last attempts +1, 0 % arrived$/m)
  assert.match(show.stdout, /^time taken +half \d+ ms at most, 95 % \d+ ms$/m)
  assert.equal(delivered.stdout, '')
})

for (const [problem, args, code, sentence] of [
  ['no exchange', ['set', 'x', address], 2, /required option '--exchange <exchange>' not specified/],
  [
    'a filter that is no JSON',
    ['set', 'x', address, '--exchange', 'events', '--filter', '{'],
    2,
    /It must be JSON such/,
  ],
  ['retries that are no times', ['set', 'x', address, '--exchange', 'events', '--retries', '1x'], 2, /must be a time/],
  [
    'an address inside',
    ['set', 'x', 'https://169.254.169.254', '--exchange', 'events'],
    1,
    /url must lead to a public address/,
  ],
  [
    'an event that is not kept',
    ['resend', 'acme', 'evt_999999999999'],
    1,
    /event evt_999999999999 does not exist.*\(event_not_found\)/,
  ],
  ['what is not there', ['show', 'absent'], 1, /^error: endpoint "absent" does not exist.*\(endpoint_not_found\)/],
] as const) {
  test(`refuses ${problem}`, async () => {
    const outcome = await run('endpoint', ...args)

    assert.deepEqual([outcome.code, outcome.stdout], [code, ''])
    assert.match(outcome.stderr, sentence)
  })
}

describe('on this machine', () => {
  test('a key is made once, for its owner only, beside the embedded database', async () => {
    const [first, second] = [await webhooksHere(open, folder, {}), await webhooksHere(open, folder, {})]

    assert.match(first?.keys ?? '', /^[A-Za-z0-9+/]{43}=$/)
    assert.deepEqual(second, first)
    assert.equal(first?.allowPrivate, true)
    assert.equal((await stat(join(folder, 'webhook-key'))).mode & 0o077, 0)
  })

  test('a key that was not written is made anew; one that is none is left, and said with what to do', async () => {
    const file = join(folder, 'webhook-key')
    await writeFile(file, '')

    const made = await webhooksHere(open, folder, {})
    const kept = await readFile(file, 'utf8')
    await writeFile(file, kept.slice(0, 20))

    assert.equal(kept, `${made?.keys}\n`)
    await assert.rejects(webhooksHere(open, folder, {}), {
      message: `${file} holds no key: put it back, or remove it (the secrets of endpoints that it sealed must then be set anew)`,
    })
    assert.equal(await readFile(file, 'utf8'), kept.slice(0, 20))
    await rm(file)
  })

  test('with a token, or another database, or settings, it is as the environment says', async () => {
    const POSTBAG_WEBHOOK_KEY = `${'A'.repeat(43)}=`
    const strict = { POSTBAG_WEBHOOK_KEY, POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'false' }

    const own = await webhooksHere(closed, folder, { POSTBAG_WEBHOOK_KEY })
    const other = await webhooksHere(closed, undefined, {})
    const told = await webhooksHere(open, folder, strict)

    assert.deepEqual(own, { keys: POSTBAG_WEBHOOK_KEY, allowPrivate: false })
    assert.equal(other, undefined)
    assert.deepEqual(told, own)
  })
})
