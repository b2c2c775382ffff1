/* Gives away work: each dot is a second of it. npm run example tutorial/2-work-queue/new-task "Write a letter..." */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })

const work = process.argv.slice(2).join(' ') || 'Hello World!'
await postbag.queue('tasks').create()
await postbag.queue('tasks').send(work)
console.log(`sent "${work}"`)
