/* Sends "Hello World!" to the queue "hello". Needs a server: npm start */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const hello = postbag.queue('hello')

await hello.create()
const { id } = await hello.send('Hello World!')
console.log(`sent message ${id}`)
