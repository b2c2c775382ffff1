/* The conformance list against the Deno server, in Deno. */
import { startDeno } from '../runtimes/process.ts'
import { denoProgram } from '../runtimes/programs.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Deno',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startDeno(denoProgram, {
      env: { DATABASE_URL: databaseUrl, POSTBAG_SECRET: secret, ...webhooks, PORT: '0' },
      onLog,
    }),
  leave: leaveByFetch,
})
