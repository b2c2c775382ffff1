/* PUSH/PULL: a ventilator pushes tasks, workers pull them and push results, a sink pulls these. Who is free takes the next task, so nobody needs to
 * wait until all workers are there. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const tasks = postbag.queue('zmq-tasks')
const results = postbag.queue('zmq-results')
await tasks.create()
await results.create()

await tasks.sendBatch(Array.from({ length: 100 }, (_, index) => ({ body: index + 1 })))

const stop = new AbortController()
const workers = ['Ada', 'Ben', 'Cleo'].map((worker) =>
  tasks.consume({ concurrency: 10, signal: stop.signal }, async (message) => {
    await results.send({ worker, square: Number(message.body) ** 2 }, { dedupId: message.id })
  }),
)

let sum = 0
let left = 100
for await (const { body } of results.consume({ concurrency: 100 })) {
  sum += (body as { square: number }).square
  if (--left === 0) break
}
console.log(`the sum of the squares of 1 to 100 is ${sum}`)

stop.abort()
await Promise.all(workers)
await tasks.delete()
await results.delete()
