/* Publishes a line with what it is about, in words between dots: npm run example tutorial/5-topics/emit-log kern.critical "Out of memory" */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

const [topic = 'anonymous.info', ...words] = process.argv.slice(2)
const line = words.join(' ') || 'Hello World!'
const logs = postbag.exchange('logs-by-topic')
await logs.declare({ type: 'topic' })
const { queues } = await logs.publish(line, { routingKey: topic })
console.log(`sent ${topic} "${line}" to ${queues}`)
