/* postbag dev: one command starts everything, says so, and stops everything; what happens to it on the way loses nothing. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { createClient } from '../../src/client/index.ts'
import { serverConfig } from '../../src/config.ts'
import { createDatabase } from '../support/database.ts'
import { jsonLines, postbag, type Running, start } from './command.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folders: string[] = []

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'postbag-dev-'))
  // mkdtemp makes it private; as root, the server runs as another user.
  chmodSync(folder, 0o755)
  folders.push(folder)
  return folder
}

interface Dev extends Running {
  readonly url: string
}

/** Start it and wait until it is ready. */
async function startDev(env: Record<string, string>): Promise<Dev> {
  const running = start(['dev', '--port', '0'], { env })
  await running.said(/Ctrl-C stops it/)
  const [, url = ''] = await running.said(/^Postbag listens on (\S+)$/m)
  return { ...running, url }
}

/** Process id of the Postgres that runs on a data folder. */
function postgresOf(folder: string): number | undefined {
  const lock = join(folder, 'postgres', 'postmaster.pid')
  return existsSync(lock) ? Number(readFileSync(lock, 'utf8').split('\n')[0]) : undefined
}

/** Never a guess: 0 would be our own process group. */
function runningPostgres(folder: string): number {
  const pid = postgresOf(folder)
  assert.ok(pid, `no Postgres runs on ${folder}`)
  return pid
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('the first start', () => {
  test('makes everything, and its three commands work as they stand', async () => {
    const folder = newFolder()
    const dev = await startDev({ POSTBAG_DATA: folder })

    const { stderr } = await shown(dev)
    assert.match(
      stderr,
      /^creating the database folder.*\nstarting Postgres…(\nran migration \d+ .*)+\nReady after \d+\.\d s\./,
    )
    assert.ok(stderr.includes(`Data is kept in ${folder} `))
    assert.equal(readFileSync(join(folder, '.gitignore'), 'utf8'), '*\n')
    const commands = [...stderr.matchAll(/^ {2}((?:npx|curl) .*)$/gm)].map(([, command = '']) => command)
    assert.equal(commands.length, 3)
    const outputs = []
    for (const command of commands) outputs.push(await shell(command))
    assert.match(outputs[0] ?? '', /^Created queue hello/)
    assert.match(outputs[1] ?? '', /"messages":\[\{"id":"\d+"/)
    assert.match(outputs[2] ?? '', /"body":"Hello World"\}\n$/)

    dev.child.kill('SIGINT')
    assert.equal((await dev.ended).code, 0)
  })

  test('writes nothing but its log to standard output', async () => {
    const database = await createDatabase()
    const dev = await startDev({ DATABASE_URL: database.url })
    await createClient(dev).queue('orders').create()

    dev.child.kill('SIGTERM')

    const { stdout } = await dev.ended
    // (Besides requests it tells how waiting receives learn of messages.)
    const [line, ...others] = jsonLines(stdout).filter((each) => !('wakeUp' in each))
    assert.deepEqual(others, [])
    assert.deepEqual([line?.['method'], line?.['path'], line?.['status']], ['PUT', '/v1/queues/orders', 201])
  })
})

test('its help lists every variable that its configuration reads', async () => {
  const read = new Set<string>()
  const given: Record<string, string> = { POSTBAG_WEBHOOK_KEY: `${'A'.repeat(43)}=` }
  const env = new Proxy(given, {
    get(target, name) {
      read.add(String(name))
      return target[String(name)]
    },
  })
  serverConfig(env)

  const { stdout } = await postbag(['dev', '--help'])

  assert.ok(read.size > 10)
  assert.deepEqual(
    [...read].filter((name) => !new RegExp(`^  ${name}( |$)`, 'm').test(stdout)),
    [],
  )
})

describe('stopping', () => {
  // (The same for all: it is begun once, and each leaves it to the next.)
  const folder = newFolder()

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`with ${signal} answers who waits, and leaves no process`, async () => {
      const dev = await startDev({ POSTBAG_DATA: folder })
      const postgres = runningPostgres(folder)
      const queue = createClient({ ...dev, retries: 0 }).queue('orders')
      await queue.create()
      const waiting = queue.receive({ waitSeconds: 20 })
      // The connection of the wait is taken before the one of this request is.
      await queue.stats()

      dev.child.kill(signal)

      assert.deepEqual(await waiting, [])
      const { code, stderr } = await dev.ended
      assert.equal(code, 0, stderr)
      assert.match(stderr, /\nStopping…\nStopped\.\n$/)
      assert.ok(!isAlive(postgres))
      assert.equal(postgresOf(folder), undefined, 'Postgres has shut down in order')
    })
  }

  test('is forced by the next Ctrl-C', async () => {
    const dev = await startDev({ POSTBAG_DATA: folder })
    const postgres = runningPostgres(folder)
    process.kill(postgres, 'SIGSTOP')

    const insisting = setInterval(() => dev.child.kill('SIGINT'), 100)
    const { code } = await dev.ended
    clearInterval(insisting)

    assert.equal(code, 130)
    process.kill(postgres, 'SIGCONT')
    // It was told to stop on the way out: the next start need not wait for it.
    const again = await startDev({ POSTBAG_DATA: folder })
    again.child.kill('SIGINT')
    assert.equal((await again.ended).code, 0)
    assert.equal(postgresOf(folder), undefined, 'Postgres has shut down in order')
  })

  test('happens by itself, with a word about it, when Postgres ends', async () => {
    const dev = await startDev({ POSTBAG_DATA: folder })

    process.kill(runningPostgres(folder), 'SIGINT')

    const { code, stderr } = await dev.ended
    assert.equal(code, 1)
    assert.match(stderr, /Postgres has ended: postgres\.log/)
  })
})

test('kill -9 and a new start lose nothing', async () => {
  const folder = newFolder()
  const first = await startDev({ POSTBAG_DATA: folder })
  const orders = createClient(first).queue('orders')
  await orders.create()
  await orders.send('sent before')
  await orders.send('leased before')
  const [leased] = await orders.receive({ leaseSeconds: 3600 })

  first.child.kill('SIGKILL')
  await first.ended
  const second = await startDev({ POSTBAG_DATA: folder })

  assert.match((await shown(second)).stderr, /stopping the Postgres that a killed process left behind…\n/)
  const again = createClient(second).queue('orders')
  const [message] = await again.receive()
  assert.equal(message?.body, 'leased before')
  assert.deepEqual(
    (await again.ack([leased?.receipt ?? ''])).map(({ outcome }) => outcome),
    ['ok'],
  )
  second.child.kill('SIGINT')
  assert.equal((await second.ended).code, 0)
})

test('HOST may be the loopback of IPv6, in brackets too', async () => {
  const { url } = await createDatabase()
  const dev = await startDev({ DATABASE_URL: url, HOST: '[::1]' })

  const created = await postbag(['queue', 'create', 'orders', '--url', dev.url])
  dev.child.kill('SIGINT')

  assert.match(dev.url, /^http:\/\/\[::1\]:\d+$/)
  assert.equal(created.code, 0, created.stderr)
  assert.equal((await dev.ended).code, 0)
})

describe('what is in the way', () => {
  test('may be another program on the port: it says so, and Postgres is stopped again', async (t) => {
    const folder = newFolder()
    const other = createServer()
    await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
    t.after(() => other.close())
    const { port } = other.address() as AddressInfo

    const { code, stderr } = await postbag(['dev'], { env: { POSTBAG_DATA: folder, PORT: String(port) } })

    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`port ${port} on 127\\.0\\.0\\.1 is taken by another program.*--port ${port + 1}`))
    assert.equal(postgresOf(folder), undefined)
  })

  test('may be another one on the same folder, which goes on undisturbed', async () => {
    const folder = newFolder()
    const dev = await startDev({ POSTBAG_DATA: folder })

    const { code, stderr } = await postbag(['dev', '--port', '0'], { env: { POSTBAG_DATA: folder } })

    assert.equal(code, 1)
    assert.match(stderr, /is in use by process \d+: is "postbag dev" already running\?/)
    assert.equal((await createClient(dev).queue('orders').create()).name, 'orders')
    dev.child.kill('SIGINT')
    assert.equal((await dev.ended).code, 0)
  })

  test('may be an address that others can reach, without a secret', async () => {
    const { code, stderr } = await postbag(['dev'], { env: { HOST: '0.0.0.0', POSTBAG_DATA: newFolder() } })

    assert.equal(code, 1)
    assert.match(stderr, /HOST is 0\.0\.0\.0.*POSTBAG_SECRET is not set/)
  })

  test('may be an address that is none of this machine', async () => {
    const { url } = await createDatabase()
    const env = { HOST: '203.0.113.1', POSTBAG_SECRET: 'x'.repeat(32), DATABASE_URL: url, PORT: '0' }

    const { code, stderr } = await postbag(['dev'], { env })

    assert.equal(code, 1)
    assert.match(stderr, /HOST is 203\.0\.113\.1, which is no address of this machine/)
  })

  test('may be a database that is away', async () => {
    const { code, stderr } = await postbag(['dev'], { env: { DATABASE_URL: 'postgres://x@127.0.0.1:9999/x' } })

    assert.equal(code, 69)
    assert.match(stderr, /\(database_unavailable\)/)
  })

  test('may be an embedded database of another Postbag, and it says what to do', async () => {
    const folder = newFolder()
    const dev = await startDev({ POSTBAG_DATA: folder })
    const client = new pg.Client(readFileSync(join(folder, 'url'), 'utf8'))
    await client.connect()
    await client.query(`update postbag.migration set hash = 'other'`)
    await client.end()
    dev.child.kill('SIGINT')
    await dev.ended

    const { code, stderr } = await postbag(['dev', '--port', '0'], { env: { POSTBAG_DATA: folder } })

    assert.equal(code, 1)
    assert.ok(stderr.includes(`move ${folder} away`), stderr)
    assert.equal(postgresOf(folder), undefined)
  })
})

describe('DATABASE_URL', () => {
  test('replaces the embedded database: it is migrated, and shown without its password', async () => {
    const database = await createDatabase()
    await database.pool.query('drop schema postbag cascade')
    const folder = newFolder()
    const dev = await startDev({ DATABASE_URL: database.url, POSTBAG_DATA: join(folder, 'unused') })

    const { stderr } = await shown(dev)
    assert.match(stderr, /ran migration 1 /)
    assert.match(stderr, /Data is kept in 127\.0\.0\.1:\d+\/test_\w+ \(DATABASE_URL\)/)
    assert.ok(!stderr.includes(new URL(database.url).password))
    assert.ok(!existsSync(join(folder, 'unused')))
    assert.equal((await createClient(dev).queue('orders').create()).name, 'orders')

    dev.child.kill('SIGINT')
    assert.equal((await dev.ended).code, 0)
  })
})

test('with a secret the banner says how to get a token, and its commands use it', async () => {
  const { url } = await createDatabase()
  const secret = { POSTBAG_SECRET: 'x'.repeat(32) }
  const dev = await startDev({ DATABASE_URL: url, ...secret })

  const { stderr } = await shown(dev)
  const [, exporting = ''] = /token: (export POSTBAG_TOKEN=.*)$/m.exec(stderr) ?? []
  const commands = [...stderr.matchAll(/^ {2}((?:npx|curl) .*)$/gm)].map(([, command = '']) => command)
  const output = await shell([exporting, ...commands].join(' && '), secret)

  assert.match(output, /^Created queue hello[\s\S]*"messages":\[[\s\S]*"body":"Hello World"\}\n$/)
  dev.child.kill('SIGINT')
  await dev.ended
})

/** What it has said so far. */
async function shown(dev: Running): Promise<{ readonly stderr: string }> {
  const [stderr] = await dev.said(/^[\s\S]*Ctrl-C stops it[\s\S]*$/)
  return { stderr }
}

/** Run a command as a person would, in another terminal in the folder of the package. */
async function shell(command: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await promisify(execFile)('sh', ['-c', command], { cwd: root, env: { ...process.env, ...env } })
  return stdout
}
