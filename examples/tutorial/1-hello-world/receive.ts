/* Prints what arrives, until Ctrl-C. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

// Whoever comes first creates it; to create it once more does no harm.
const hello = postbag.queue('hello')
await hello.create()
console.error('waiting for messages; Ctrl-C ends')
for await (const message of hello.consume({ signal: stop.signal })) {
  console.log(`received "${message.body}"`)
}
