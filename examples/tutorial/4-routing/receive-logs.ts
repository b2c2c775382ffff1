/* Prints the lines of the severities that were asked for: npm run example tutorial/4-routing/receive-logs warning error */
import { randomUUID } from 'node:crypto'
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const severities = process.argv.slice(2)
if (severities.length === 0) throw new Error('say which severities: info, warning, error')
const logs = postbag.exchange('logs-by-severity')
await logs.declare({ type: 'direct' })
const mine = postbag.queue(`logs-${randomUUID()}`)
await mine.create({ ttlSeconds: 60 })
for (const severity of severities) await logs.bind({ queue: mine.name, routingKey: severity })

console.error('waiting for logs; Ctrl-C ends')
for await (const message of mine.consume({ signal: stop.signal })) console.log(`${message.routingKey}: ${message.body}`)
await mine.delete()
