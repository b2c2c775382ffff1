/* A transaction pooler before a database, of the kind that knows nothing of prepared statements: each transaction of a client runs on
 * another session, and what one client left in a session the next one finds there. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TransactionPooler {
  /** The database's address, through the pooler. */
  readonly url: string
  stop(): Promise<void>
}

export interface PoolerOptions {
  /** How many sessions there are at most. A client that comes when one is idle, or when there are as many, is signed on by the pooler
   * itself, as Hyperdrive does it. Defaults to one for each client. */
  readonly mostSessions?: number
}

interface Transaction {
  readonly client: Socket
  readonly messages: Buffer
}

/** A client signs on through a session of its own, which then belongs to all; so there are as many sessions as there were clients, or as are
 * allowed. With a session that is lost goes the client that signed on through it, and the one whose transaction it runs; with the last one
 * go all but those that are just signing on. With a client that goes before it has signed on goes its session. Farewells are polite: workerd
 * takes no notice of a reset that comes with the first answer. */
export async function startTransactionPooler(
  databaseUrl: string,
  { mostSessions }: PoolerOptions = {},
): Promise<TransactionPooler> {
  const target = new URL(databaseUrl)
  const open = new Set<Socket>()
  const sessions = new Set<Socket>()
  const signingOn = new Set<Socket>()
  const idle: Socket[] = []
  const waiting: Transaction[] = []
  /** Whose transaction a session runs. */
  const serving = new Map<Socket, Socket>()
  /** A client gets another one the next time, if any other is free. */
  const lastSession = new Map<Socket, Socket>()

  /** What a server says to who has signed on. */
  let welcome: Buffer | undefined

  const server = createServer((client) => {
    watch(client)
    const shares = mostSessions !== undefined && (idle.length > 0 || sessions.size >= mostSessions)
    if (welcome && shares) admit(client, welcome)
    else signOn(client)
  })

  function watch(socket: Socket): void {
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
  }

  function signOn(client: Socket): void {
    const session = connect(Number(target.port), target.hostname)
    watch(session)
    sessions.add(session)
    signingOn.add(session).add(client)
    client.once('close', () => {
      if (signingOn.has(session)) session.destroy()
    })
    session.once('close', () => {
      client.end()
      signingOn.delete(session)
      signingOn.delete(client)
      serving.get(session)?.end()
      sessions.delete(session)
      if (idle.includes(session)) idle.splice(idle.indexOf(session), 1)
      // Nobody is left to serve the others.
      if ([...sessions].some((other) => !signingOn.has(other))) return
      for (const other of open) if (!signingOn.has(other)) other.end()
    })
    const pass = (bytes: Buffer) => session.write(bytes)
    client.on('data', pass)
    void answer(session, client).then((said) => {
      welcome ??= said.subarray(said.indexOf(signedOn))
      client.off('data', pass)
      signingOn.delete(session)
      signingOn.delete(client)
      listen(client)
      serve()
    })
  }

  /** The first thing a client says is with whom it wants to speak. */
  function admit(client: Socket, welcome: Buffer): void {
    client.once('data', () => {
      client.write(welcome)
      listen(client)
    })
  }

  function listen(client: Socket): void {
    let gathered = Buffer.alloc(0)
    client.on('data', (bytes) => {
      gathered = Buffer.concat([gathered, bytes])
      // A transaction's last message is a sync (S) or a simple query (Q).
      for (let end = endOf(gathered, 'SQ'); end !== undefined; end = endOf(gathered, 'SQ')) {
        waiting.push({ client, messages: gathered.subarray(0, end) })
        gathered = gathered.subarray(end)
        serve()
      }
    })
  }

  function serve(): void {
    while (idle.length > 0 && waiting.length > 0) {
      const { client, messages } = waiting.shift() as Transaction
      if (!client.writable) continue
      const other = idle.findIndex((session) => lastSession.get(client) !== session)
      const [session] = idle.splice(Math.max(other, 0), 1) as [Socket]
      lastSession.set(client, session)
      void answer(session, client).then(serve)
      session.write(messages)
    }
  }

  /** Pass on what the session answers, until it is ready for another transaction (Z). */
  async function answer(session: Socket, client: Socket): Promise<Buffer> {
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
    return gathered
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

/** The message that ends the signing on (R, of 8 bytes, 0). */
const signedOn = Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1')

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
