/* The conformance list against the Worker, in workerd. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { startWorker } from '../runtimes/workerd.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))

conformanceOf({
  name: 'Cloudflare Worker',
  start: ({ databaseUrl, secret, onLog }) =>
    startWorker(entry, databaseUrl, { vars: { POSTBAG_SECRET: secret }, onLog }),
  async leave(url, request, afterMillis) {
    const headers = { ...(request.headers as Record<string, string>), 'x-leave-after-millis': String(afterMillis) }
    assert.equal((await fetch(url, { ...request, headers })).status, 204)
  },
})
