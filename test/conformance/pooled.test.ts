/* The conformance list against the Node server behind a transaction pooler with a direct address to listen on; and without one, where those who wait
 * look now and then. */
import { startServer } from '../../functions/node.ts'
import { webhookSettings } from '../../src/config.ts'
import { startTransactionPooler } from '../support/transaction-pooler.ts'
import { cases, wakingCases } from './cases.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

for (const hasDirectUrl of [false, true]) {
  conformanceOf({
    name: `Node behind a transaction pooler${hasDirectUrl ? ', with a direct address' : ''}`,
    cases: hasDirectUrl ? cases : wakingCases,
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
