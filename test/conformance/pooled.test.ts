/* The conformance list against the Node server behind a transaction pooler, without and with a direct address to listen on. */
import { startServer } from '../../functions/node.ts'
import { webhookSettings } from '../../src/config.ts'
import { startTransactionPooler } from '../support/transaction-pooler.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

for (const hasDirectUrl of [false, true]) {
  conformanceOf({
    name: `Node behind a transaction pooler${hasDirectUrl ? ', with a direct address' : ''}`,
    async start({ databaseUrl, secret, webhooks, onLog }) {
      const pooler = await startTransactionPooler(databaseUrl)
      const server = await startServer({
        access: { kind: 'token', secret },
        webhooks: webhookSettings(webhooks),
        databaseUrl: pooler.url,
        directUrl: hasDirectUrl ? databaseUrl : undefined,
        host: '127.0.0.1',
        port: 0,
        log: (line) => onLog(JSON.stringify(line)),
      })
      return { url: server.url, stop: () => server.stop().finally(pooler.stop) }
    },
    leave: leaveByFetch,
  })
}
