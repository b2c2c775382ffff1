/* PUB/SUB: what is published goes to those who have subscribed to its topic, and to nobody else. A subscription is a queue: what comes while its
 * subscriber is away waits for him. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const weather = postbag.exchange('zmq-weather')
await weather.declare({ type: 'topic' })

// Nobody has subscribed yet, so nobody will ever see this.
console.log(`reached ${(await weather.publish('fog', { routingKey: 'zip.10001' })).queues}`)

const subscriptions = { 'zmq-manhattan': 'zip.100.*', 'zmq-everywhere': 'zip.#' }
for (const [name, routingKey] of Object.entries(subscriptions)) {
  await postbag.queue(name).create()
  await weather.bind({ queue: name, routingKey })
}
for (const [routingKey, text] of [
  ['zip.100.01', 'rain'],
  ['zip.904.05', 'sun'],
] as const) {
  console.log(`reached ${(await weather.publish(text, { routingKey })).queues}`)
}

for (const name of Object.keys(subscriptions)) {
  const messages = await postbag.queue(name).receive({ max: 10, waitSeconds: 20, autoAck: true })
  console.log(`${name}: ${messages.map(({ body }) => body).join(', ')}`)
  await postbag.queue(name).delete()
}
await weather.delete()
