/* A name server on 127.0.0.1 (RFC 1035 over UDP), which says of each name what the test wants, each time something else if it must. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

/** By name: what is said the first time, the second time …; the last is repeated. None: the name does not exist. `silent`: no answer;
 * among addresses, `silent A` or `silent AAAA`: none to that question. */
export type Zone = Readonly<Record<string, readonly (readonly string[] | 'silent')[]>>

export interface NameServer {
  /** Address and port. */
  readonly address: string
  /** The names that were asked for, each with A or AAAA. */
  readonly questions: readonly string[]
  stop(): Promise<void>
}

const types: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' }

export async function startNameServer(zone: Zone): Promise<NameServer> {
  const questions: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (message, peer) => {
    const { name, type, end } = questionOf(message)
    const question = `${name} ${type}`
    const earlier = questions.filter((asked) => asked === question).length
    questions.push(question)
    const said = zone[name]?.at(Math.min(earlier, (zone[name]?.length ?? 0) - 1))
    if (said === 'silent' || said?.includes(`silent ${type}`)) return
    const records = (said ?? []).filter((address) => typeOf(address) === type).map(recordOf)
    const head = Buffer.from(message.subarray(0, 12))
    head.writeUInt16BE(said ? 0x8180 : 0x8183, 2)
    head.writeUInt16BE(records.length, 6)
    head.writeUInt32BE(0, 8)
    socket.send(Buffer.concat([head, message.subarray(12, end), ...records]), peer.port, peer.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    address: `127.0.0.1:${socket.address().port}`,
    questions,
    async stop() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

function typeOf(said: string): 'A' | 'AAAA' | undefined {
  if (said.startsWith('silent')) return undefined
  return said.includes(':') ? 'AAAA' : 'A'
}

function questionOf(message: Buffer): { name: string; type: 'A' | 'AAAA' | undefined; end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: types[message.readUInt16BE(at + 1)], end: at + 5 }
}

/** An answer to the only question, to be remembered for no time. */
function recordOf(address: string): Buffer {
  const data = address.includes(':') ? bytes6(address) : Buffer.from(address.split('.').map(Number))
  const head = Buffer.from([0xc0, 12, 0, data.length === 4 ? 1 : 28, 0, 1, 0, 0, 0, 0, 0, data.length])
  return Buffer.concat([head, data])
}

function bytes6(address: string): Buffer {
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const hex = (part: string) =>
    part
      .split(':')
      .map((number) => number.padStart(4, part === '' ? '' : '0'))
      .join('')
  const [before, after] = [hex(head), hex(tail)]
  return Buffer.from(before + '0'.repeat(32 - before.length - after.length) + after, 'hex')
}
