/* Publishes a line of a log to everybody who listens, however many they are. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

const line = process.argv.slice(2).join(' ') || 'info: Hello World!'
const logs = postbag.exchange('logs')
await logs.declare({ type: 'fanout' })
const { queues } = await logs.publish(line)
console.log(`sent "${line}" to ${queues}`)
