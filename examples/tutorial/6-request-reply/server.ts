/* Answers who asks for a Fibonacci number. Start several: each request is answered by one of them. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const fibonacci = (n: number): number => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2))

const requests = postbag.queue('fibonacci')
await requests.create()
console.error('waiting for requests; Ctrl-C ends')
await requests.consume({ signal: stop.signal }, async (message) => {
  const n = Number(message.body)
  if (!(Number.isInteger(n) && n >= 0 && n <= 35))
    return message.reject(`must be a whole number from 0 to 35, got ${message.body}`)
  console.log(`fibonacci(${n})`)
  await message.reply(fibonacci(n))
})
