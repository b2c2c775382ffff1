/* The conformance list against the Bun server, in Bun. */
import { startBun } from '../runtimes/process.ts'
import { bunProgram } from '../runtimes/programs.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Bun',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startBun(bunProgram, {
      env: { DATABASE_URL: databaseUrl, POSTBAG_SECRET: secret, ...webhooks, PORT: '0' },
      onLog,
    }),
  leave: leaveByFetch,
})
