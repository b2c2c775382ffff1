/* Asking before something is deleted: only a yes is a yes, and where nobody can be asked nothing happens. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { confirm } from '../../src/cli/confirm.ts'
import { Ending } from '../../src/cli/exit.ts'

function terminal(answer: string, isTTY = true) {
  const input = Object.assign(new PassThrough(), { isTTY })
  const output = new PassThrough()
  input.end(answer)
  return { input, output, shown: () => String(output.read() ?? '') }
}

const endsWith = (exitCode: number) => (error: unknown) => error instanceof Ending && error.exitCode === exitCode

describe('a question', () => {
  for (const answer of ['y\n', 'Y\n', 'yes\n', ' YES \n']) {
    test(`is answered with yes by ${JSON.stringify(answer)}`, async () => {
      const asked = terminal(answer)

      await confirm('Delete 3 messages?', asked)

      assert.match(asked.shown(), /Delete 3 messages\? \[y\/N\] /)
    })
  }

  for (const answer of ['\n', 'n\n', 'no\n', 'yep\n', 'yesterday\n']) {
    test(`is answered with no by ${JSON.stringify(answer)}`, async () => {
      await assert.rejects(confirm('Delete?', terminal(answer)), endsWith(1))
    })
  }

  test('that is left without an answer (Ctrl-D) is a no', async () => {
    await assert.rejects(confirm('Delete?', terminal('')), endsWith(130))
  })

  test('is not asked where there is no terminal', async () => {
    const asked = terminal('y\n', false)

    await assert.rejects(confirm('Delete?', asked), (error) => endsWith(2)(error) && /--yes/.test(String(error)))

    assert.equal(asked.shown(), '')
  })
})
