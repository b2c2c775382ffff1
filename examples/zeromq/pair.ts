/* PAIR: two who talk to each other and to nobody else: a queue in each direction. */
import { createClient, type Queue } from 'postbag/client'

const { POSTBAG_URL: url = 'http://127.0.0.1:8787', POSTBAG_TOKEN: token } = process.env
const postbag = createClient({ url, ...(token && { token }) })
const there = postbag.queue('zmq-pair-there')
const back = postbag.queue('zmq-pair-back')
await there.create()
await back.create()

async function talk(name: string, hears: Queue, says: Queue, turns: number): Promise<void> {
  for await (const message of hears.consume()) {
    console.log(`${name} heard ${message.body}`)
    if (Number(message.body) < turns) await says.send(Number(message.body) + 1)
    if (Number(message.body) >= turns - 1) break
  }
}

await there.send(1)
await Promise.all([talk('Ping', there, back, 6), talk('Pong', back, there, 6)])
await there.delete()
await back.delete()
