/* The Worker in workerd, its database behind a pooler, without the Durable Object (cloudflare-object.test.ts): those who wait look now and then. */
import { fileURLToPath } from 'node:url'
import { startPooledWorker } from '../runtimes/hyperdrive.ts'
import { leaveWorker } from '../runtimes/workerd.ts'
import { wakingCases } from './cases.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))

conformanceOf({
  name: 'Cloudflare Worker',
  cases: wakingCases,
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startPooledWorker(entry, databaseUrl, { vars: { POSTBAG_SECRET: secret, ...webhooks }, onLog }),
  leave: leaveWorker,
})
