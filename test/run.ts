/* npm test: everything that must hold, from one command.
 *
 *   npm test                             checks (types, lint, import rules, unused code), then all tests
 *   npm test -- test/sql/receive.test.ts only the test files whose path contains one of the arguments
 *
 * Starts one throw-away Postgres 18, and a 15 on which the tests in test/sql/ run a second time. Each test file is a process of
 * its own. The last line is "N passed, N failed"; the exit code is 0 only if something passed and nothing failed. */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { resolve } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { install } from '../src/db/install.ts'
import { installRuntimes } from './support/runtimes.ts'
import { type Major, type ScratchServer, startScratch } from './support/server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const template = 'postbag_template'
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
  const files = globSync('test/**/*.test.ts', { cwd: root, exclude: ['**/node_modules'] })
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .sort()
  const sqlFiles = files.filter((file) => file.startsWith('test/sql/'))
  if (files.length === 0) return fail(`no test file matches ${wanted.join(' ')}`)

  await installRuntimes()
  if (wanted.length === 0 && !check()) return fail('npm run check: so no test was run')
  await runOn(18, files)
  if (sqlFiles.length > 0) await runOn(15, sqlFiles)
}

function check(): boolean {
  const shell = process.platform === 'win32'
  return spawnSync('npm', ['run', '--silent', 'check'], { cwd: root, stdio: 'inherit', shell }).status === 0
}

async function runOn(major: Major, files: readonly string[]): Promise<void> {
  interrupted.signal.throwIfAborted()
  const server = await startScratch(major)
  servers.push(server)
  await makeTemplate(server.url)
  console.log(`\nPostgres ${major}: ${files.length} test files`)

  const stream = run({
    cwd: root,
    files: [...files],
    concurrency: 3,
    timeout: 120_000,
    signal: interrupted.signal,
    env: {
      ...withoutOwnSettings(process.env),
      POSTBAG_TEST_SERVER: server.url,
      POSTBAG_TEST_TEMPLATE: template,
    },
  })
  stream.on('test:pass', (test) => {
    // A file without a single test is reported as one test that passed, named like the file.
    if (test.file && resolve(root, test.name) === test.file) fail(`${test.name} has no test`)
    else if (test.details.type !== 'suite' && !test.skip && !test.todo) passed++
  })
  stream.on('test:fail', (test) => {
    // A suite fails with its tests, which are counted; on its own only when a hook failed.
    const cause = test.details.error as Error & { failureType?: string }
    if (!test.todo && !(test.details.type === 'suite' && cause.failureType === 'subtestsFailed')) failed++
  })
  const report = stream.compose(new spec())
  report.pipe(process.stdout, { end: false })
  await new Promise((done, broken) => report.once('end', done).once('error', broken))
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
