/* What is committed is what is written: a function that was changed in fixtures/ and not committed again would run nowhere. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packagedMigrations } from '../../src/db/install.ts'

const fixtures = fileURLToPath(new URL('../../migrations/fixtures', import.meta.url))
const installed = packagedMigrations()
  .map(({ sql }) => sql)
  .join('\n')

for (const file of globSync('**/*.sql', { cwd: fixtures }).sort()) {
  test(`${file} is installed as it stands`, () => {
    const blocks = installed.split(`--! Included ${file}\n`)
    const last = blocks.at(-1)?.split(`--! EndIncluded ${file}`)[0]

    assert.ok(blocks.length > 1, 'no committed migration includes it: npm run migration:commit')
    assert.equal(last?.trim(), readFileSync(`${fixtures}/${file}`, 'utf8').trim())
  })
}
