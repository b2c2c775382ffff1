/* Sends "Hello World!" to the queue "hello". Needs a server: npm start */
import { createClient } from 'postbag/client'

const postbag = createClient({ url: process.env['POSTBAG_URL'] ?? 'http://127.0.0.1:8787' })
const hello = postbag.queue('hello')

await hello.create()
const { id } = await hello.send('Hello World!')
console.log(`sent message ${id}`)
