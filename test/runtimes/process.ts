/* Runs a program in a runtime of test/runtimes (Deno, Bun), as a process of its own, whose text it is given on standard input. The program
 * says on standard output when it is ready: a JSON object with its url. All other lines are its log. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface RunningProgram {
  /** Base address on 127.0.0.1, without a slash at the end. */
  readonly url: string
  /** From its start to its first line. */
  readonly startMillis: number
  /** Its exit code when it has ended, null if a signal ended it. */
  readonly ended: Promise<number | null>
  /** Send it a signal, SIGTERM by default; resolves as `ended`. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>
  /** Gets each line that it logs. Defaults to nobody. */
  readonly onLog?: (line: string) => void
  /** What Deno may do besides, as its arguments. */
  readonly rights?: readonly string[]
}

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Deno may do what README.md says it needs, and no more. Nothing is fetched. */
export function startDeno(program: string, options: ProgramOptions): Promise<RunningProgram> {
  const rights = ['--allow-net', '--allow-env', '--no-prompt', ...(options.rights ?? [])]
  const sources = ['--no-remote', '--node-modules-dir=manual', '--no-check', '--quiet']
  return start(binary('@deno/*/deno'), ['run', ...rights, ...sources, '-'], program, options)
}

export function startBun(program: string, options: ProgramOptions): Promise<RunningProgram> {
  return start(binary('@oven/bun-*/bin/bun'), ['run', '--no-install', '-'], program, options)
}

/** The commands of the packages are scripts, which would keep our signals to themselves. */
function binary(pattern: string): string {
  const [found] = globSync(`test/runtimes/node_modules/${pattern}{,.exe}`, { cwd: root })
  if (!found) throw new Error(`test/runtimes/node_modules has no ${pattern}`)
  return join(root, found)
}

async function start(
  command: string,
  args: readonly string[],
  program: string,
  { env, onLog = () => {} }: ProgramOptions,
): Promise<RunningProgram> {
  const started = performance.now()
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'pipe' })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  child.stdin.end(program)

  const ready = Promise.withResolvers<string>()
  let trouble = ''
  child.stderr.on('data', (text) => {
    trouble += text
  })
  child.once('close', (code) => ready.reject(new Error(`ended with ${code} before it was ready: ${trouble}`)))
  createInterface(child.stdout).on('line', (line) => {
    const url = line.startsWith('{"url"') ? (JSON.parse(line) as { url: string }).url : undefined
    if (url === undefined) onLog(line)
    else ready.resolve(url)
  })
  const url = await ready.promise
  child.stderr.removeAllListeners('data').pipe(process.stderr)
  return {
    url,
    startMillis: performance.now() - started,
    ended,
    stop(signal = 'SIGTERM') {
      child.kill(signal)
      return ended
    },
  }
}
