/* The command as a whole: help, version, wrong usage, where it finds Postbag, and how it ends. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { exitCodes, exitCodesHelp } from '../../src/cli/exit.ts'
import { createClient } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { createPlace, postbag } from './command.ts'

const commands = [
  'dev',
  'send',
  'receive',
  'peek',
  'redrive',
  'stats',
  'queue',
  'pause',
  'resume',
  'migrate',
  'maintain',
  'doctor',
  'uninstall',
  'token',
]

const nobody = { POSTBAG_URL: 'http://127.0.0.1:9999' }

describe('postbag', () => {
  test('says its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

    const { code, stdout } = await postbag(['--version'])

    assert.equal(code, 0)
    assert.equal(stdout, `${version}\n`)
  })

  test('explains itself, with every command and every exit code', async () => {
    const { code, stdout } = await postbag(['--help'])

    assert.equal(code, 0)
    for (const command of commands) {
      assert.match(stdout, new RegExp(`^  ${command}\\b`, 'm'))
    }
    for (const exitCode of Object.values(exitCodes)) assert.match(exitCodesHelp, new RegExp(`^  ${exitCode} `, 'm'))
    assert.ok(stdout.includes(exitCodesHelp.trim()))
  })

  for (const args of [
    [],
    ['sned'],
    ['send'],
    ['send', 'orders', 'a', 'b'],
    ['send', 'orders', '--priority', 'high'],
    ['queue', 'creat', 'orders'],
    ['stats', 'orders', '--url', 'localhost'],
    ['receive', 'orders', '--follow', '--wait', '5'],
    ['receive', 'orders', '--auto-ack', '--ack'],
    ['receive', 'orders', '--auto-ack', '--lease', '5'],
    ['queue', 'create', 'orders', '--order', 'filo'],
    ['queue', 'create', 'orders', '--rate', 'fast'],
    ['peek', 'orders', '--state', 'lost'],
    ['peek', 'orders', '17', '--state', 'dead'],
    ['redrive', 'orders', '--reason', 'bad luck'],
    ['redrive', '--dry-run'],
    ['maintain', 'orders'],
  ]) {
    test(`refuses wrong usage: postbag ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await postbag(args, { env: nobody })

      assert.equal(code, 2)
      assert.equal(stdout, '')
      assert.match(stderr, /error:|Usage:/)
    })
  }
})

describe('where Postbag is', () => {
  test('is --url before POSTBAG_URL before DATABASE_URL', async () => {
    const [byOption, byVariable] = [await createPlace(), await createPlace()]
    await createClient(byOption).queue('by-option').create()
    await createClient(byVariable).queue('by-variable').create()
    await createClient(byVariable).queue('in-database').create()
    const env = { ...byVariable.env, DATABASE_URL: byOption.database.url }
    const names = async (args: readonly string[], environment: Record<string, string>) => {
      const { stdout } = await postbag(['queue', 'list', '--json', ...args], { env: environment })
      return stdout.match(/(?<="name":")[^"]+/g)
    }

    assert.deepEqual(await names(['--url', byOption.url], env), ['by-option'])
    assert.deepEqual(await names([], env), ['by-variable', 'in-database'])
    assert.deepEqual(await names([], { ...env, POSTBAG_URL: '' }), ['by-option'])
  })

  test('may be a database alone: every verb works without a server', async () => {
    const { database } = await createPlace()
    const env = { DATABASE_URL: database.url }

    await postbag(['queue', 'create', 'orders'], { env })
    await postbag(['send', 'orders'], { env, input: '{"n": 1.0}\n' })
    const stats = await postbag(['stats', 'orders', '--json'], { env })
    const received = await postbag(['receive', 'orders', '--wait', '1', '--ack', '--body'], { env })
    const empty = await postbag(['receive', 'orders'], { env })

    assert.equal(JSON.parse(stats.stdout).ready, 1)
    assert.equal(received.stdout, '{"n": 1.0}\n')
    assert.deepEqual([stats.code, received.code, empty.code], [0, 0, 3])
    for (const args of [['pause', 'orders'], ['resume', 'orders'], ['redrive', 'orders'], ['maintain']]) {
      const { code, stderr } = await postbag(args, { env })
      assert.deepEqual([code, stderr], [0, ''], args.join(' '))
    }
  })

  test('is port 8787 or PORT of this machine else, and if nothing is there it says what to do', async () => {
    const { code, stdout, stderr } = await postbag(['stats', 'orders'], { env: { PORT: '9998' } })

    assert.equal(code, 69)
    assert.equal(stdout, '')
    assert.match(stderr, /nothing answers at http:\/\/127\.0\.0\.1:9998/)
    assert.match(stderr, /npx postbag dev.*POSTBAG_URL.*DATABASE_URL.*\(network_error\)/)
  })

  test('is the server, whatever DATABASE_URL and PORT are: only who needs them says that they cannot be read', async () => {
    const { env } = await createPlace()
    const unreadable = { DATABASE_URL: 'postgres://me:s3#cret@db.example/app', PORT: 'none' }

    const atServer = await postbag(['queue', 'create', 'orders'], { env: { ...env, ...unreadable } })
    const token = await postbag(['token', '--scope', 'admin'], {
      env: { ...unreadable, POSTBAG_SECRET: 'x'.repeat(32) },
    })
    const atDatabase = await Promise.all(
      [['stats', 'orders'], ['migrate'], ['doctor'], ['uninstall', '--yes'], ['dev']].map((args) =>
        postbag(args, { env: { DATABASE_URL: unreadable.DATABASE_URL } }),
      ),
    )

    assert.deepEqual([atServer.code, token.code], [0, 0], atServer.stderr + token.stderr)
    for (const { code, stderr } of atDatabase) {
      assert.equal(code, 1)
      assert.match(stderr, /^error: DATABASE_URL cannot be read: .*# as %23.*\n$/)
      assert.ok(!stderr.includes('cret'))
    }
  })

  test('is not just any web server', async (t) => {
    const other = createServer((_, response) =>
      response.writeHead(404, { 'content-type': 'text/html' }).end('<p>no</p>'),
    )
    await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
    t.after(() => other.close())
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`

    const { code, stderr } = await postbag(['stats', 'orders', '--url', url])

    assert.equal(code, 1)
    assert.match(stderr, /must be Postbag, got 404 text\/html \(route_not_found\)/)
  })
})

describe('what goes wrong', () => {
  test('is said with its reason: a server that is away', async () => {
    const { code, stderr } = await postbag(['stats', 'orders'], { env: nobody })

    assert.equal(code, 69)
    assert.match(stderr, /^error: .*127\.0\.0\.1:9999.*ECONNREFUSED.*\(network_error\)$/m)
  })

  test('is said with its reason: a database that is away', async () => {
    const env = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9999/none' }

    const { code, stderr } = await postbag(['stats', 'orders'], { env })

    assert.equal(code, 69)
    assert.match(stderr, /^error: the database cannot be reached: .*\(database_unavailable\)$/m)
  })

  test('is said with its reason: a database that lets nobody in, is none, or forbids it', async () => {
    const database = await createDatabase()
    const stranger = `stranger_${process.pid}`
    await database.pool.query(`create role ${stranger} login password 'known'`)
    const [wrongPassword, wrongDatabase, wrongRole] = [1, 2, 3].map(() => new URL(database.url)) as [URL, URL, URL]
    wrongPassword.password = 'wrong'
    wrongDatabase.pathname = '/nowhere'
    Object.assign(wrongRole, { username: stranger, password: 'known' })

    for (const [url, reason] of [
      [wrongPassword, /^error: .*password authentication failed for user "\w+"/],
      [wrongDatabase, /^error: .*database "nowhere" does not exist/],
      [wrongRole, /^error: permission denied for schema postbag/],
    ] as const) {
      for (const args of [
        ['stats', 'orders'],
        ['queue', 'list'],
        ['send', 'orders', '1'],
        ['receive', 'orders'],
      ]) {
        const { code, stdout, stderr } = await postbag(args, { env: { DATABASE_URL: url.href } })

        assert.notEqual(code, 0)
        assert.equal(stdout, '')
        assert.match(stderr, reason, args.join(' '))
        assert.doesNotMatch(stderr, /in the log|\(request|wrong|known/)
      }
    }
    await database.pool.query(`drop role ${stranger}`)
  })

  test('is said with its reason: a database without Postbag', async () => {
    // Without a server: one that looks after its database would wait for this drop, and the drop for it.
    const database = await createDatabase()
    await database.pool.query('drop schema postbag cascade')

    const { code, stderr } = await postbag(['stats', 'orders'], { env: { DATABASE_URL: database.url } })

    assert.equal(code, 1)
    assert.match(stderr, /postbag migrate.*\(schema_mismatch\)/)
  })
})
