/* Titanic: the request outlives everybody. Its client leaves with nothing but an id, a worker comes when nobody else is there, and whoever has the id
 * fetches the reply, a day later if need be. All of it is on disk. */
import { createClient } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const reports = postbag.queue('zmq-reports')
await reports.create()

async function ask(): Promise<string> {
  const { id } = await reports.sendRequest('How was the year?', { keepSeconds: 86_400 })
  console.log('asked, and left')
  return id
}

async function work(): Promise<void> {
  for (const message of await reports.receive({ waitSeconds: 20 })) await message.reply('Busy.')
  console.log('replied, and left')
}

async function comeBack(id: string): Promise<void> {
  const reply = await createClient({ url, ...(token && { token }) })
    .queue('zmq-reports')
    .fetchReply(id)
  console.log(`came back, and read "${reply?.body}"`)
}

const id = await ask()
await work()
await comeBack(id)
await reports.delete()
