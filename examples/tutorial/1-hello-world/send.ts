/* Sends one message. What is published to the exchange "default" goes to the queue that the routing key names. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

await postbag.queue('hello').create()
await postbag.exchange('default').publish('Hello World!', { routingKey: 'hello', mandatory: true })
console.log('sent "Hello World!"')
