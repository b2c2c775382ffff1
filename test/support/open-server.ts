/* The HTTP server as a newcomer has it: on loopback, without tokens, on a free port, over a database of the test's own. */
import { type NodeServer, type NodeServerOptions, startServer } from '../../functions/node.ts'

/** Start it; the test stops it. Its request log goes nowhere. */
export function startOpenServer(
  databaseUrl: string,
  more: Pick<NodeServerOptions, 'webhooks'> = {},
): Promise<NodeServer> {
  return startServer({ access: { kind: 'open' }, databaseUrl, host: '127.0.0.1', port: 0, log: () => {}, ...more })
}
