/* The Deno server's own duties; what it shares with every runtime is in test/conformance/. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDeno } from '../runtimes/process.ts'
import { denoProgram, ownServer } from '../runtimes/programs.ts'
import { ownServerOf } from './own-server.ts'

ownServerOf({ name: 'Deno', start: (options, how) => startDeno(ownServer('deno', how), options) })

for (const placed of [{ DENO_DEPLOY: 'true' }, { DENO_SERVE_ADDRESS: 'tcp:127.0.0.1:0' }]) {
  test(`where ${Object.keys(placed)} says that others choose the address, a secret is needed`, async () => {
    const env = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing', PORT: '0', ...placed }

    await assert.rejects(startDeno(denoProgram, { env }), /POSTBAG_SECRET is not set/)
  })
}
