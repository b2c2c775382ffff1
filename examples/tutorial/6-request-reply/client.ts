/* Asks for a Fibonacci number, and waits for it: npm run example tutorial/6-request-reply/client 30 */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

const n = Number(process.argv[2] ?? 30)
const requests = postbag.queue('fibonacci')
await requests.create()
const { body } = await requests.request<number>(n, { timeoutSeconds: 20 })
console.log(`fibonacci(${n}) = ${body}`)
