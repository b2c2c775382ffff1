/* Does the work, one piece at a time, and acks it when it is done. Start several: they share it. Kill one in the middle of a piece, and another does
 * that again, after the lease of a minute. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const tasks = postbag.queue('tasks')
await tasks.create()
console.error('waiting for work; Ctrl-C ends')
await tasks.consume({ concurrency: 1, leaseSeconds: 60, signal: stop.signal }, async (message) => {
  const work = String(message.body)
  console.log(`received "${work}"`)
  await sleep(1000 * (work.split('.').length - 1))
  await message.ack()
  console.log(`done with "${work}"`)
})
