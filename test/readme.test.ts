/* Every code block of the README that a reader can run is run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blocksOf, runBlocks } from './support/doc-blocks.ts'

const blocks = await blocksOf('README.md')

runBlocks('README.md', blocks)

test('the README has blocks of every kind', () => {
  for (const language of ['sh', 'ts', 'sql', 'console']) {
    assert.ok(
      blocks.some((block) => block.language === language),
      language,
    )
  }
})
