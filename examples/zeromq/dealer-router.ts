/* DEALER/ROUTER: many ask without waiting, many answer in any order, and each answer finds who asked. A client's answers come to a queue of its own
 * (replyTo); which question one belongs to says its correlation id. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const work = postbag.queue('zmq-work')
await work.create()

const stop = new AbortController()
const workers = Array.from({ length: 3 }, () =>
  work.consume({ concurrency: 5, signal: stop.signal }, (message) => message.reply(String(message.body).toUpperCase())),
)

const clients = ['ann', 'bob'].map(async (name) => {
  const answers = postbag.queue(`zmq-answers-${name}`)
  await answers.create()
  const words = [`${name} one`, `${name} two`, `${name} three`]
  await work.sendBatch(words.map((body, index) => ({ body, replyTo: answers.name, correlationId: String(index) })))

  const answered: string[] = []
  for await (const message of answers.consume()) {
    answered[Number(message.correlationId)] = String(message.body)
    if (Object.keys(answered).length === words.length) break
  }
  await answers.delete()
  return answered.join(', ')
})
for (const answered of await Promise.all(clients)) console.log(answered)

stop.abort()
await Promise.all(workers)
await work.delete()
