/* The conformance list against the Node server. */
import { startServer } from '../../functions/node.ts'
import { leaveByFetch } from './leave.ts'
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
  leave: leaveByFetch,
})
