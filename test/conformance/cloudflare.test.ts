/* The conformance list against the Worker, in workerd. */
import { fileURLToPath } from 'node:url'
import { leaveWorker, startWorker } from '../runtimes/workerd.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))

conformanceOf({
  name: 'Cloudflare Worker',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startWorker(entry, databaseUrl, { vars: { POSTBAG_SECRET: secret, ...webhooks }, onLog }),
  leave: leaveWorker,
})
