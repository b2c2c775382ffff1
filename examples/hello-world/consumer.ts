/* Prints what arrives in the queue "hello", until Ctrl-C. Needs a server: npm start */
import { createClient } from 'postbag/client'

const postbag = createClient({ url: process.env['POSTBAG_URL'] ?? 'http://127.0.0.1:8787' })
const hello = postbag.queue('hello')
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

await hello.create()
console.error('waiting for messages; Ctrl-C ends')
for await (const message of hello.consume({ signal: stop.signal })) {
  console.log(`received: ${message.body}`)
}
