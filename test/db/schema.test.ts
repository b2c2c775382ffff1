/* src/db/schema.ts says what the migrations make. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { schemaTypesCommand } from '../support/author.ts'
import { createDatabase } from '../support/database.ts'

test('the types of the tables are those of the migrated database', async () => {
  const { url } = await createDatabase()

  const result = spawnSync(process.execPath, schemaTypesCommand('--verify'), {
    env: { ...process.env, DATABASE_URL: url },
    encoding: 'utf8',
  })

  assert.equal(result.status, 0, `run "npm run types:schema"\n${result.stdout}${result.stderr}`)
})
