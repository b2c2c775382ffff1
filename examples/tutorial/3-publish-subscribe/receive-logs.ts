/* Prints what is published from now on. Each that runs has a queue of its own, so each gets every line. */
import { randomUUID } from 'node:crypto'
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const logs = postbag.exchange('logs')
await logs.declare({ type: 'fanout' })
const mine = postbag.queue(`logs-${randomUUID()}`)
// (Should this program be killed, nobody deletes its queue; but what nobody reads is forgotten after a minute.)
await mine.create({ ttlSeconds: 60 })
await logs.bind({ queue: mine.name })

console.error('waiting for logs; Ctrl-C ends')
for await (const message of mine.consume({ signal: stop.signal })) console.log(message.body)
await mine.delete()
