/* Every code block of docs/ that a reader can run is run, each page in a world of its own; and the pages keep together: each has an example
 * that checks what it shows, the index knows each, and links between files lead somewhere. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { blocksOf, isRun, runBlocks } from './support/doc-blocks.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const pages = globSync('docs/*.md', { cwd: root })
  .map((page) => page.replaceAll('\\', '/'))
  .sort()
/** An assertion of the program's own, or a command that fails if something is not there. */
const check = /\bassert\b|\bgrep -q\b/

/** That npx finds the command, the README's test shows; here it would cost half a second each time. */
const npx = `npx() { shift; '${process.execPath}' src/cli/main.ts "$@"; }`

for (const page of pages) runBlocks(page, await blocksOf(page), npx)

describe('each page', () => {
  for (const page of pages) {
    test(`${page} has an example that checks what it shows`, async () => {
      const blocks = await blocksOf(page)

      assert.ok(blocks.some((block) => isRun(block) && check.test(block.code)))
    })
  }

  test('is in the index', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8')

    for (const page of pages.filter((page) => page !== 'docs/README.md')) {
      assert.ok(index.includes(`(${page.replace('docs/', '')})`), page)
    }
  })
})

test('links between the documents lead somewhere', () => {
  const documents = [...pages, ...globSync('{*,src/*,migrations/*,examples/*}.md', { cwd: root })]
  const links = documents.flatMap((document) =>
    [...readFileSync(join(root, document), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target = '']) => ({
      document,
      target,
    })),
  )

  assert.notEqual(links.length, 0)
  assert.deepEqual(
    links.filter(({ document, target }) => !existsSync(join(root, dirname(document), target))),
    [],
  )
})
