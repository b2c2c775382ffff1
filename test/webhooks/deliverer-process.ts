/* A process that delivers webhooks and nothing else, as a server process does, but by a clock that may run faster. Started by
 * deliverer-processes.ts, which kills it; says when it has begun, stops in order when told, and ends with its parent. */
import { connect, preparing } from '../../src/db/connect.ts'
import { createDeliverer } from '../../src/webhooks/deliverer.ts'
import { createTransport } from '../../src/webhooks/node/transport.ts'
import { createSecretBox } from '../../src/webhooks/secrets.ts'
import type { DelivererSettings } from './deliverer-processes.ts'

const { databaseUrl, keys, began, speed }: DelivererSettings = JSON.parse(process.argv[2] ?? '')
const pool = connect(databaseUrl, { maxConnections: 4, answerTimeoutMillis: 5000 })
const stopping = new AbortController()

process.once('disconnect', () => process.exit())
process.once('message', () => stopping.abort())
process.send?.('begins')
await createDeliverer({
  executor: preparing(pool),
  attempt: createTransport().attempt,
  open: createSecretBox(keys).open,
  policy: { allowPrivate: true, allowHttp: true },
  slots: 32,
  idleMillis: 50,
  clock: () => new Date(began + (Date.now() - began) * speed),
}).run(stopping.signal)
process.exit()
