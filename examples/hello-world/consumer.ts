/* Prints what arrives in the queue "hello", until Ctrl-C. Needs a server: npm start */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const hello = postbag.queue('hello')
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

await hello.create()
console.error('waiting for messages; Ctrl-C ends')
for await (const message of hello.consume({ signal: stop.signal })) {
  console.log(`received: ${message.body}`)
}
