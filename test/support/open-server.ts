/* The HTTP server as a newcomer has it: on loopback, without tokens, with webhooks to this machine, on a free port, over a database of the
 * test's own. */
import { type NodeServer, type NodeServerOptions, startServer } from '../../functions/node.ts'

/** Start it; the test stops it. Its request log goes nowhere, if no other is given. */
export function startOpenServer(
  databaseUrl: string,
  { log = () => {} }: Pick<NodeServerOptions, 'log'> = {},
): Promise<NodeServer> {
  const webhooks = { keys: `${'A'.repeat(43)}=`, allowPrivate: true }
  return startServer({ access: { kind: 'open' }, databaseUrl, webhooks, host: '127.0.0.1', port: 0, log })
}
