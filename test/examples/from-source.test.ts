/* What runs in this clone finds each entry of the package in its source, though nothing is built. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import '../../examples/from-source.ts'

const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

for (const path of Object.keys(exports).filter((path) => !path.endsWith('.json'))) {
  const name = path.replace('.', 'postbag')
  test(`${name} is a source`, () => {
    const url = import.meta.resolve(name)

    assert.match(url, /\/(src|functions)\/[^?]*\.ts$/)
    assert.ok(existsSync(new URL(url)), url)
  })
}
