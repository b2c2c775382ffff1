/* A process that is a Postbag server and nothing else, so that it competes with its clients as it would in production. Started by
 * children.ts with the database's url and the server's options as JSON; says its own url, and how many bytes of memory it has
 * when it is asked; ends with its parent. */
import { startServer } from '../../../functions/node.ts'

const [databaseUrl = '', options = '{}'] = process.argv.slice(2)
const server = await startServer({
  access: { kind: 'open' },
  host: '127.0.0.1',
  port: 0,
  log: () => {},
  databaseUrl,
  ...JSON.parse(options),
})
process.once('disconnect', () => process.exit())
process.on('message', (wish) => {
  if (wish === 'memory') process.send?.(process.memoryUsage().rss)
  else server.stop().then(() => process.exit())
})
process.send?.(server.url)
