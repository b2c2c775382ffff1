/* The conformance list against the Worker with the Durable Object that listens, in workerd, its database behind a pooler. */
import { fileURLToPath } from 'node:url'
import { startPooledWorker } from '../runtimes/hyperdrive.ts'
import { leaveWorker } from '../runtimes/workerd.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))

conformanceOf({
  name: 'Cloudflare Worker with a Durable Object',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startPooledWorker(entry, databaseUrl, {
      vars: { POSTBAG_SECRET: secret, ...webhooks, DATABASE_DIRECT_URL: databaseUrl },
      hub: true,
      alarm: true,
      onLog,
    }),
  leave: leaveWorker,
})
