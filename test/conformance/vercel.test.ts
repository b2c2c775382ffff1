/* The conformance list against the Vercel function. Its module holds one instance, so this file runs the list once. */
import vercel from '../../functions/vercel.ts'
import { startVercel } from '../runtimes/vercel.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Vercel function',
  cannot: ['hands on large requests'],
  start({ databaseUrl, secret, webhooks, onLog }) {
    Object.assign(process.env, { DATABASE_URL: databaseUrl, POSTBAG_SECRET: secret, ...webhooks })
    console.log = onLog
    return startVercel(vercel.fetch)
  },
  leave: leaveByFetch,
})
