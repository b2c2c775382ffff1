/* Examples as a user runs them: a process each, started as `npm run example` does. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const cwd = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

export type Settings = Readonly<Record<string, string>>

/** Run it to its end; the lines it printed. */
export async function example(
  name: string,
  settings: Settings,
  ...args: readonly string[]
): Promise<readonly string[]> {
  const { stdout } = await run(process.execPath, ['examples/run.ts', name, ...args], {
    cwd,
    env: { ...process.env, ...settings },
  })
  return stdout.trim().split('\n')
}

const running = new Set<ChildProcess>()

/** For `after`: end those that a test which failed left running. */
export function endExamples(): void {
  for (const child of running) child.kill('SIGKILL')
}

export interface Running {
  /** Resolves to the next line it prints. */
  line(): Promise<string>
  /** Ctrl-C; resolves to its exit code. */
  stop(): Promise<number>
}

/** Start one that runs until it is stopped. Resolves when it says that it waits. */
export async function startExample(name: string, settings: Settings, ...args: readonly string[]): Promise<Running> {
  const child: ChildProcess = spawn(process.execPath, ['examples/run.ts', name, ...args], {
    cwd,
    env: { ...process.env, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const exit = once(child, 'exit')
  exit.then(() => running.delete(child))
  const lines = readerOf(child.stdout)[Symbol.asyncIterator]()
  await Promise.race([
    once(readerOf(child.stderr), 'line'),
    exit.then(([code]) => Promise.reject(new Error(`${name} ended with ${code} before it waited`))),
  ])
  return {
    async line() {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${name} has ended`)
      return value
    },
    async stop() {
      child.kill('SIGINT')
      const [code] = await exit
      return code
    },
  }
}

function readerOf(stream: NodeJS.ReadableStream | null): Interface {
  if (!stream) throw new Error('a stream must be piped')
  return createInterface(stream)
}
