/* Prints the lines whose topic fits a pattern: * is one word, # any number of them. npm run example tutorial/5-topics/receive-logs 'kern.*' '#.critical' */
import { randomUUID } from 'node:crypto'
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const patterns = process.argv.slice(2)
if (patterns.length === 0) throw new Error("say which topics: 'kern.*', '#.critical', '#'")
const logs = postbag.exchange('logs-by-topic')
await logs.declare({ type: 'topic' })
const mine = postbag.queue(`logs-${randomUUID()}`)
await mine.create({ ttlSeconds: 60 })
for (const pattern of patterns) await logs.bind({ queue: mine.name, routingKey: pattern })

console.error('waiting for logs; Ctrl-C ends')
for await (const message of mine.consume({ signal: stop.signal })) console.log(`${message.routingKey}: ${message.body}`)
await mine.delete()
