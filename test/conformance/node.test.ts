/* The conformance list against the Node server. */
import { startServer } from '../../functions/node.ts'
import { webhookSettings } from '../../src/config.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

conformanceOf({
  name: 'Node',
  start: ({ databaseUrl, secret, webhooks, onLog }) =>
    startServer({
      access: { kind: 'token', secret },
      webhooks: webhookSettings(webhooks),
      databaseUrl,
      host: '127.0.0.1',
      port: 0,
      log: (line) => onLog(JSON.stringify(line)),
    }),
  leave: leaveByFetch,
})
