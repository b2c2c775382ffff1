/* Majordomo: services by their name, each with workers that may come, go and die. A service is a queue. A worker's heartbeat is the lease of its
 * request: when it dies, the lease ends, and the request goes to another one. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const echo = postbag.queue('zmq-service-echo')
await echo.create({ leaseSeconds: 1 })

// What a client of Majordomo asks by mmi.service: is there such a service?
for (const service of ['echo', 'coffee']) {
  const isThere = await postbag
    .queue(`zmq-service-${service}`)
    .info()
    .then(
      () => true,
      () => false,
    )
  console.log(`${service}: ${isThere ? 'there' : 'not there'}`)
}

const asked = echo.request('Hello World!', { timeoutSeconds: 20 })

// The first worker takes the request, and dies: it neither replies nor keeps its lease.
const [taken] = await echo.receive({ waitSeconds: 20 })
console.log(`worker 1 took "${taken?.body}" at attempt ${taken?.attempts}, and died`)

const stop = new AbortController()
const second = echo.consume({ signal: stop.signal }, async (message) => {
  console.log(`worker 2 took "${message.body}" at attempt ${message.attempts}`)
  await message.reply(message.body)
})
console.log(`the client got "${(await asked).body}"`)

stop.abort()
await second
await echo.delete()
