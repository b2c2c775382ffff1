/* Every code block of the README that a reader can run is run, from top to bottom, in one world: sh in a shell, ts as a program, sql in
 * the database. What cannot be run here (git clone, deploying) is marked as console. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { NodeServer } from '../functions/node.ts'
import { createDatabase, type TestDatabase } from './support/database.ts'
import { startOpenServer } from './support/open-server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = await readFile(join(root, 'README.md'), 'utf8')
const blocks = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([block, language = '', code = '']) => ({
  language,
  code,
  line: readme.slice(0, readme.indexOf(block)).split('\n').length,
}))
const run = promisify(execFile)

let database: TestDatabase
let server: NodeServer
let folder: string

before(async () => {
  database = await createDatabase()
  server = await startOpenServer(database.url)
  folder = await mkdtemp(join(root, 'examples', 'readme-'))
})
after(async () => {
  await rm(folder, { recursive: true })
  await server.stop()
})

for (const { language, code, line } of blocks.filter((block) => block.language !== 'console')) {
  test(`the ${language} block at line ${line} runs`, async () => {
    const here = code.replaceAll('http://127.0.0.1:8787', server.url)

    if (language === 'sql') await database.pool.query(here)
    else if (language === 'ts') await runProgram(here, line)
    else if (language === 'sh') await runShell(here)
    else assert.fail(`do not know how to run ${language}`)
  })
}

test('the README has blocks of every kind', () => {
  for (const language of ['sh', 'ts', 'sql', 'console']) {
    assert.ok(
      blocks.some((block) => block.language === language),
      language,
    )
  }
})

/** In a folder of the repository, so that packages are found; `postbag` is taken from the sources. */
async function runProgram(code: string, line: number): Promise<void> {
  const file = join(folder, `line-${line}.ts`)
  await writeFile(file, code)
  await run(process.execPath, ['--import', './examples/from-source.ts', file], { cwd: root, env: environment() })
}

async function runShell(code: string): Promise<void> {
  const { stderr } = await run(
    'bash',
    ['-euo', 'pipefail', '-c', code.replaceAll('curl ', 'curl -sS --fail-with-body ')],
    {
      cwd: root,
      env: { ...environment(), DATABASE_URL: undefined, POSTBAG_URL: server.url },
    },
  )
  assert.doesNotMatch(stderr, /error|refused|not found/i)
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, DATABASE_URL: database.url, POSTBAG_SECRET: 'at-least-32-random-characters-please' }
}
