/* The conformance list against the Node server. */
import assert from 'node:assert/strict'
import { startServer } from '../../functions/node.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Node',
  start: ({ databaseUrl, secret, onLog }) =>
    startServer({
      access: { kind: 'token', secret },
      databaseUrl,
      host: '127.0.0.1',
      port: 0,
      log: (line) => onLog(JSON.stringify(line)),
    }),
  async leave(url, request, afterMillis) {
    await assert.rejects(fetch(url, { ...request, signal: AbortSignal.timeout(afterMillis) }), { name: 'TimeoutError' })
  },
})
