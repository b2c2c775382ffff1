/* npm test: everything that must hold, from one command.
 *
 *   npm test                             checks (types, lint, import rules, unused code), then all tests
 *   npm test -- test/sql/receive.test.ts only the test files whose path contains one of the arguments
 *
 * Starts one throw-away Postgres 18, and a 15 on which the tests in test/sql/ run a second time. Each test file is a process of
 * its own. The last line is "N passed, N failed"; the exit code is 0 only if something passed and nothing failed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { install } from '../src/db/install.ts'
import { runFiles, type TestFile } from './support/run-files.ts'
import { installRuntimes } from './support/runtimes.ts'
import { type Major, type ScratchServer, startScratch } from './support/server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const template = 'postbag_template'

/** How many files run at once: one more than two cores can work on, as most of them wait now and then. */
const concurrency = 3

/** How the paths of files begin that take long, the longest first, and of those that wait now and then: they are begun before the others, which
 * are short and only work. */
const long = [
  'test/conformance/lambda',
  'test/conformance/pooled',
  'test/conformance/cloudflare',
  'test/docs',
  'test/sql/groups-model',
  'test/examples/',
  'test/conformance/',
  'test/bench',
  'test/cli/dev',
  'test/cli/real-input',
  'test/wakeup/',
  'test/webhooks/',
  'test/functions/',
  'test/db/',
  'test/sql/model',
  'test/cli/',
]

/** Halves the time that a process takes to start, and there are hundreds of them. */
const compileCache = join(root, 'node_modules/.cache/postbag-tests')

const interrupted = new AbortController()
const servers: ScratchServer[] = []
let passed = 0
let failed = 0

// Whoever reads the output has gone away (npm test | head): nobody is left to tell.
process.stdout.on('error', () => interrupted.abort())
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort())

try {
  await main(process.argv.slice(2).map((path) => path.replace(/^\.\//, '')))
} catch (error) {
  if (!interrupted.signal.aborted) console.error(error)
  failed ||= 1
} finally {
  await Promise.all(servers.map((server) => server.remove()))
}
if (passed + failed === 0) console.log('No test ran.')
console.log(`${passed} passed, ${failed} failed`)
process.exit(interrupted.signal.aborted ? 130 : failed > 0 || passed === 0 ? 1 : 0)

async function main(wanted: readonly string[]): Promise<void> {
  const paths = globSync('test/**/*.test.ts', { cwd: root, exclude: ['**/node_modules'] })
    .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
    .sort()
  const sqlPaths = paths.filter((path) => path.startsWith('test/sql/'))
  if (paths.length === 0) return fail(`no test file matches ${wanted.join(' ')}`)

  await installRuntimes()
  const checked = wanted.length === 0 ? check() : true
  const files = await on(18, paths)
  if (sqlPaths.length > 0) files.push(...(await on(15, sqlPaths)))
  if (!(await checked)) return fail('npm run check: so no test was run')

  interrupted.signal.throwIfAborted()
  files.sort((one, other) => turn(one.path) - turn(other.path))
  const outcome = await runFiles(files, { cwd: root, concurrency, signal: interrupted.signal })
  passed += outcome.passed
  failed += outcome.failed
  if (files.length > 1) {
    console.log('\nThe files that took longest:')
    for (const [title, seconds] of outcome.durations.slice(0, 10))
      console.log(`${seconds.toFixed(1).padStart(6)} s  ${title}`)
  }
}

/** The position of the first of `long` that a path begins with; after them if there is none. */
function turn(path: string): number {
  const at = long.findIndex((beginning) => path.startsWith(beginning))
  return at < 0 ? long.length : at
}

async function check(): Promise<boolean> {
  const child = spawn('npm', ['run', '--silent', 'check'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  const [code] = await once(child, 'close')
  return code === 0
}

/** Start a server; the files as they run on it. */
async function on(major: Major, paths: readonly string[]): Promise<TestFile[]> {
  interrupted.signal.throwIfAborted()
  const server = await startScratch(major)
  servers.push(server)
  await makeTemplate(server.url)
  const env = {
    ...withoutOwnSettings(process.env),
    NODE_COMPILE_CACHE: compileCache,
    POSTBAG_TEST_SERVER: server.url,
    POSTBAG_TEST_TEMPLATE: template,
    POSTBAG_TEST_MAJOR: String(major),
  }
  return paths.map((path) => ({ path, title: `${path} on Postgres ${major}`, env }))
}

function fail(reason: string): void {
  failed++
  console.log(`✖ ${reason}`)
}

/** The migrations are installed once; each test copies the result, which takes some 30 ms. */
async function makeTemplate(serverUrl: string): Promise<void> {
  const admin = new pg.Client(serverUrl)
  await admin.connect()
  await admin.query(`create database ${template}`)
  await admin.end()
  const pool = new pg.Pool({ connectionString: serverUrl.replace(/[^/]*$/, template) })
  await install(pool)
  await pool.end()
}

/** A developer's DATABASE_URL or POSTBAG_SECRET must not reach the tests. */
function withoutOwnSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(DATABASE_URL|PORT|PG[A-Z]+|POSTBAG_.*)$/.test(name)),
  )
}
