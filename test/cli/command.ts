/* Running the command line as its users do: real processes, through bin/postbag.js. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type NodeServer, startServer } from '../../functions/node.ts'
import type { Access } from '../../src/config.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const program = fileURLToPath(new URL('../../bin/postbag.js', import.meta.url))

type Environment = Readonly<Record<string, string>>

export interface RunOptions {
  readonly env?: Environment
  /** What standard input gives; without it, it is empty. */
  readonly input?: string | Uint8Array
  readonly cwd?: string
}

interface StartOptions {
  readonly node?: readonly string[]
  readonly detached?: boolean
}

export interface Outcome {
  /** Exit code; undefined if a signal ended it. */
  readonly code: number | undefined
  readonly signal: NodeJS.Signals | undefined
  readonly stdout: string
  readonly stderr: string
  /** Standard output as it was. */
  readonly bytes: Buffer
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly ended: Promise<Outcome>
  /** Resolves with what matched as soon as one of its outputs does; rejects if it ends before. */
  said(pattern: RegExp): Promise<RegExpExecArray>
}

const running = new Set<ChildProcess>()
const servers: NodeServer[] = []

after(async () => {
  for (const child of running) child.kill('SIGKILL')
  for (const server of servers) await server.stop()
})

/** Start `postbag …` and leave it running, with its standard input open.
 * @param node options of Node itself
 * @param detached whether it leads a process group of its own, as a command at a terminal does */
export function start(
  args: readonly string[],
  { env = {}, cwd, node = [], detached = false }: Omit<RunOptions, 'input'> & StartOptions = {},
): Running {
  const child = spawn(process.execPath, [...node, program, ...args], {
    cwd,
    detached,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  const chunks: { readonly stdout: Buffer[]; readonly stderr: Buffer[] } = { stdout: [], stderr: [] }
  child.stdout.on('data', (chunk) => chunks.stdout.push(chunk))
  child.stderr.on('data', (chunk) => chunks.stderr.push(chunk))
  // It may end without having read everything.
  child.stdin.on('error', () => {})
  const text = () => ({ stdout: String(Buffer.concat(chunks.stdout)), stderr: String(Buffer.concat(chunks.stderr)) })

  const ended = once(child, 'close').then(([code, signal]): Outcome => {
    running.delete(child)
    return { code: code ?? undefined, signal: signal ?? undefined, ...text(), bytes: Buffer.concat(chunks.stdout) }
  })

  return {
    child,
    pid: child.pid as number,
    ended,
    said(pattern) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const { stdout, stderr } = text()
          const found = pattern.exec(stdout) ?? pattern.exec(stderr)
          if (!found) return
          resolve(found)
          child.stdout.off('data', look)
          child.stderr.off('data', look)
        }
        child.stdout.on('data', look)
        child.stderr.on('data', look)
        look()
        void ended.then((outcome) => reject(new Error(`ended without saying ${pattern}: ${JSON.stringify(outcome)}`)))
      })
    },
  }
}

/** Run `postbag …` to its end. */
export async function postbag(args: readonly string[], { input = '', ...options }: RunOptions = {}): Promise<Outcome> {
  const { child, ended } = start(args, options)
  child.stdin?.end(input)
  return ended
}

export interface Place {
  readonly database: TestDatabase
  readonly url: string
  /** Makes the command line use this server. */
  readonly env: { readonly POSTBAG_URL: string }
}

/** A server of its own, on a database of its own, until the test file ends. */
export async function createPlace(access: Access = { kind: 'open' }): Promise<Place> {
  const database = await createDatabase()
  const server = await startServer({
    access,
    host: '127.0.0.1',
    port: 0,
    databaseUrl: database.url,
    webhooks: { keys: `${'A'.repeat(43)}=`, allowPrivate: true },
    log: () => {},
  })
  servers.push(server)
  return { database, url: server.url, env: { POSTBAG_URL: server.url } }
}

/** The JSON of every line. */
export function jsonLines<Value = Record<string, unknown>>(text: string): Value[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}
