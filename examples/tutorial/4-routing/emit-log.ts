/* Publishes a line with its severity: npm run example tutorial/4-routing/emit-log error "It is on fire" */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

const [severity = 'info', ...words] = process.argv.slice(2)
const line = words.join(' ') || 'Hello World!'
const logs = postbag.exchange('logs-by-severity')
await logs.declare({ type: 'direct' })
const { queues } = await logs.publish(line, { routingKey: severity })
console.log(`sent ${severity} "${line}" to ${queues}`)
