/* A cache before a database, as Hyperdrive is one: a statement that begins with select and names no function that it knows to be volatile or
 * stable is answered from memory, to whoever asks the same, if it was asked before. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface CachingProxy {
  /** The database's address, through the cache. */
  readonly url: string
  /** Whether it caches; true at first. */
  caches: boolean
  /** The texts of the statements that came, those that were answered from memory too. */
  readonly statements: readonly string[]
  stop(): Promise<void>
}

const uncacheable =
  /\b(now|clock_timestamp|statement_timestamp|timeofday|random|gen_random_uuid|nextval|lastval|txid_current|pg_current_xact_id|current_(timestamp|date|time))\b/i

export async function startCachingProxy(databaseUrl: string): Promise<CachingProxy> {
  const target = new URL(databaseUrl)
  const open = new Set<Socket>()
  const answers = new Map<string, Buffer>()
  const statements: string[] = []
  const proxy = { caches: true }

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    // What was asked and is being answered; undefined while the client signs on.
    let asked: string | undefined
    let isSignedOn = false
    let question = Buffer.alloc(0)
    let answer = Buffer.alloc(0)

    client.on('data', (bytes) => {
      if (!isSignedOn) {
        upstream.write(bytes)
        return
      }
      question = Buffer.concat([question, bytes])
      const text = textOf(question)
      if (text === undefined) return
      asked = question.toString('latin1')
      question = Buffer.alloc(0)
      statements.push(text)
      const known = proxy.caches ? answers.get(asked) : undefined
      if (known) client.write(known)
      else upstream.write(Buffer.from(asked, 'latin1'))
    })
    upstream.on('data', (bytes) => {
      client.write(bytes)
      answer = Buffer.concat([answer, bytes])
      // Ready for the next (Z, a length of 5, and no transaction is open).
      if (!answer.subarray(-6).equals(Buffer.from('Z\0\0\0\x05I', 'latin1'))) return
      const text = asked === undefined ? '' : (textOf(Buffer.from(asked, 'latin1')) ?? '')
      if (asked !== undefined && /^\s*select\b/i.test(text) && !uncacheable.test(text)) answers.set(asked, answer)
      answer = Buffer.alloc(0)
      isSignedOn = true
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(proxy, {
    url: url.href,
    statements,
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  })
}

/** The statement in a query (Q), or in a parse (P) that has come with all up to its sync (S); undefined if it is not whole. */
function textOf(bytes: Buffer): string | undefined {
  let text: string | undefined
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) return undefined
    const type = String.fromCharCode(bytes.readUInt8(at))
    const words = bytes.toString('utf8', at + 5, end).split('\0')
    if (type === 'Q') return words[0]
    if (type === 'P') text = words[1]
    if (type === 'S') return text ?? ''
    if (type === 'X') return ''
    at = end
  }
  return undefined
}
