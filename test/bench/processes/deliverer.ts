/* A process that delivers webhooks and nothing else. Started by children.ts with the database's url and how often to look; tells how it is when it
 * is asked; stops in order when told, and ends with its parent. */
import { connect, preparing } from '../../../src/db/connect.ts'
import { createDeliverer } from '../../../src/webhooks/deliverer.ts'
import { createTransport } from '../../../src/webhooks/node/transport.ts'
import { createSecretBox } from '../../../src/webhooks/secrets.ts'
import { benchKey } from '../webhook-receivers.ts'

export interface DelivererFigures {
  /** Most bytes of memory that it held. */
  readonly memory: number
  /** Statements since it began. */
  readonly statements: number
  /** To the database. */
  readonly connections: number
  /** Microseconds of the processor since it began. */
  readonly processor: number
}

const [databaseUrl = '', idleMillis] = process.argv.slice(2)
const pool = connect(databaseUrl, { maxConnections: 10, answerTimeoutMillis: 30_000 })
const prepared = preparing(pool)
const transport = createTransport()
let statements = 0

const stopping = new AbortController()
const running = createDeliverer({
  executor: {
    query(text: string, values: unknown[]) {
      statements++
      return prepared.query(text, values)
    },
  },
  attempt: transport.attempt,
  open: createSecretBox(benchKey).open,
  policy: { allowPrivate: true, allowHttp: true },
  onError: (error) => console.error(error),
  idleMillis: Number(idleMillis),
}).run(stopping.signal)

async function stop(): Promise<void> {
  stopping.abort()
  await running
  transport.close()
  await pool.end()
}

process.once('disconnect', () => process.exit())
process.on('message', (wish) => {
  if (wish === 'stop') return void stop().then(() => process.exit())
  const { user, system } = process.cpuUsage()
  process.send?.({
    memory: process.resourceUsage().maxRSS * 1024,
    statements,
    connections: pool.totalCount,
    processor: user + system,
  } satisfies DelivererFigures)
})
process.send?.('delivers')
