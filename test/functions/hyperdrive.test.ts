/* Hyperdrive answers from a cache what looks like a read, unless the text of the statement names a volatile function that it knows.
 * A claim answered from a cache would hand out the same messages again; so every statement names clock_timestamp(). */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { neverCached } from '../../src/db/call.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('every statement of the domain folders names clock_timestamp()', () => {
  const statements = globSync('src/{queue,exchange,wakeup,webhook,schedule}/**/*.ts', { cwd: root }).flatMap((file) =>
    statementsOf(readFileSync(`${root}/${file}`, 'utf8')).map((text) => ({ file, text })),
  )

  assert.ok(statements.length >= 12, `only ${statements.length} statements were found: has their form changed?`)
  assert.deepEqual(
    statements.filter(({ text }) => !text.replace(/\$\{neverCached\}/, neverCached).includes('clock_timestamp()')),
    [],
  )
})

/** The texts in backticks that name something in the schema postbag. */
function statementsOf(source: string): readonly string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
  return [...code.matchAll(/`([^`]*)`/g)].map(([, text = '']) => text).filter((text) => /\bpostbag\.\w/.test(text))
}
