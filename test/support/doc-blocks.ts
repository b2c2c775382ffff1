/* The code blocks of a page, run as a reader would, from top to bottom in one world of their own (a database with a server over it): sh in a
 * shell, ts as a program, sql in the database. What cannot be run here (git clone, deploying, another platform's settings) is marked as
 * console or json, and only shown. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { NodeServer } from '../../functions/node.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { startOpenServer } from './open-server.ts'

export interface Block {
  readonly language: string
  readonly code: string
  readonly line: number
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const onlyShown = ['console', 'json']
const run = promisify(execFile)

/** @param page its path in the repository */
export async function blocksOf(page: string): Promise<readonly Block[]> {
  const text = await readFile(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    code: match[2] ?? '',
    line: text.slice(0, match.index).split('\n').length,
  }))
}

export function isRun({ language }: Block): boolean {
  return !onlyShown.includes(language)
}

/** A suite named like the page: its world, and a test for each block that is run.
 * @param prelude run before each shell block */
export function runBlocks(page: string, blocks: readonly Block[], prelude = ''): void {
  describe(page, () => {
    let database: TestDatabase
    let server: NodeServer
    let folder: string

    before(async () => {
      database = await createDatabase()
      server = await startOpenServer(database.url)
      folder = await mkdtemp(join(root, '.page-'))
    })
    after(async () => {
      await rm(folder, { recursive: true })
      await server.stop()
      await database.drop()
    })

    for (const { language, code, line } of blocks.filter(isRun)) {
      test(`the ${language} block at line ${line} runs`, async () => {
        const here = code.replaceAll('http://127.0.0.1:8787', server.url)

        if (language === 'sql') await database.pool.query(here)
        else if (language === 'ts') await runProgram(here, line)
        else if (language === 'sh') await runShell(here)
        else assert.fail(`do not know how to run ${language}`)
      })
    }

    /** In a folder of the repository, so that packages are found; `postbag` is taken from the sources. */
    async function runProgram(code: string, line: number): Promise<void> {
      const file = join(folder, `line-${line}.ts`)
      await writeFile(file, code)
      await run(process.execPath, ['--import', './examples/from-source.ts', file], { cwd: root, env: environment() })
    }

    async function runShell(code: string): Promise<void> {
      const strict = `${prelude}\n${code.replaceAll('curl ', 'curl -sS --fail-with-body ')}`
      const env = { ...environment(), DATABASE_URL: undefined, POSTBAG_URL: server.url }
      const { stderr } = await run('bash', ['-euo', 'pipefail', '-c', strict], { cwd: root, env })
      assert.doesNotMatch(stderr, /error|refused|not found/i)
    }

    function environment(): NodeJS.ProcessEnv {
      return { ...process.env, DATABASE_URL: database.url, POSTBAG_SECRET: 'at-least-32-random-characters-please' }
    }
  })
}
