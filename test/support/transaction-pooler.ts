/* A transaction pooler before a database, of the kind that knows nothing of prepared statements: each transaction of a client runs on
 * another session, and what one client left in a session the next one finds there. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TransactionPooler {
  /** The database's address, through the pooler. */
  readonly url: string
  stop(): Promise<void>
}

interface Transaction {
  readonly client: Socket
  readonly messages: Buffer
}

/** A client signs on through a session of its own, which then belongs to all; so there are as many sessions as there were clients. With a
 * session that is lost goes the client that signed on through it, and the one whose transaction it runs. */
export async function startTransactionPooler(databaseUrl: string): Promise<TransactionPooler> {
  const target = new URL(databaseUrl)
  const open = new Set<Socket>()
  const idle: Socket[] = []
  const waiting: Transaction[] = []
  /** Whose transaction a session runs. */
  const serving = new Map<Socket, Socket>()
  /** A client gets another one the next time, if any other is free. */
  const lastSession = new Map<Socket, Socket>()

  const server = createServer((client) => {
    const session = connect(Number(target.port), target.hostname)
    for (const socket of [client, session]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => open.delete(socket))
    }
    session.once('close', () => {
      client.destroy()
      serving.get(session)?.destroy()
      if (idle.includes(session)) idle.splice(idle.indexOf(session), 1)
    })
    let signedOn = false
    let gathered = Buffer.alloc(0)
    client.on('data', (bytes) => {
      if (!signedOn) {
        session.write(bytes)
        return
      }
      gathered = Buffer.concat([gathered, bytes])
      // A transaction's last message is a sync (S) or a simple query (Q).
      for (let end = endOf(gathered, 'SQ'); end !== undefined; end = endOf(gathered, 'SQ')) {
        waiting.push({ client, messages: gathered.subarray(0, end) })
        gathered = gathered.subarray(end)
        serve()
      }
    })
    void answer(session, client).then(() => {
      signedOn = true
      serve()
    })
  })

  function serve(): void {
    while (idle.length > 0 && waiting.length > 0) {
      const { client, messages } = waiting.shift() as Transaction
      const other = idle.findIndex((session) => lastSession.get(client) !== session)
      const [session] = idle.splice(Math.max(other, 0), 1) as [Socket]
      lastSession.set(client, session)
      void answer(session, client).then(serve)
      session.write(messages)
    }
  }

  /** Pass on what the session answers, until it is ready for another transaction (Z). */
  async function answer(session: Socket, client: Socket): Promise<void> {
    let gathered = Buffer.alloc(0)
    serving.set(session, client)
    await new Promise<void>((resolve) => {
      const pass = (bytes: Buffer) => {
        client.write(bytes)
        gathered = Buffer.concat([gathered, bytes])
        if (endOf(gathered, 'Z') === undefined) return
        session.off('data', pass)
        resolve()
      }
      session.on('data', pass)
    })
    serving.delete(session)
    idle.push(session)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: url.href,
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

/** Where the first message of one of these types ends; undefined if it has not come in full. A message is a type and a length with itself. */
function endOf(bytes: Buffer, types: string): number | undefined {
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) return undefined
    if (types.includes(String.fromCharCode(bytes.readUInt8(at)))) return end
    at = end
  }
  return undefined
}
