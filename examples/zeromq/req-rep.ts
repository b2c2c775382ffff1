/* REQ/REP: ask, and wait for the answer. Any number of servers share the questions; a question that nobody has answered yet waits. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const questions = postbag.queue('zmq-questions')
await questions.create()

const stop = new AbortController()
const server = questions.consume({ signal: stop.signal }, (message) => message.reply(`${message.body}, World!`))

for (const word of ['Hello', 'Goodbye']) {
  const { body } = await questions.request(word, { timeoutSeconds: 20 })
  console.log(`${word} → ${body}`)
}

stop.abort()
await server
await questions.delete()
