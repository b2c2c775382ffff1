/* The conformance list against the Supabase entry, in Deno: with what an Edge Function finds there, its name before every path and the
 * address of the project's database in the environment. */
import { startDeno } from '../runtimes/process.ts'
import { supabaseProgram } from '../runtimes/programs.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Supabase Edge',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startDeno(supabaseProgram, {
      env: { SUPABASE_DB_URL: databaseUrl, POSTBAG_SECRET: secret, ...webhooks },
      onLog,
    }),
  leave: leaveByFetch,
})
