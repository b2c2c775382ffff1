/* A TCP proxy before a database, so that tests can take the database away and give it back: the connections reset, the bytes held up, or the
 * bytes swallowed while both sides believe to be connected. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  /** The database's address, through the proxy. */
  readonly url: string
  /** How many connections there have been, and how many sockets are open on both sides. */
  readonly connections: number
  readonly sockets: number
  /** Cut every connection. */
  cut(): void
  /** Cut every connection, and refuse new ones until `restore`. */
  refuse(): Promise<void>
  /** Hold all bytes, both ways, until `restore` delivers them. */
  stall(): void
  /** Swallow all bytes, both ways, and all farewells, until `restore`; what is connected then, or connects meanwhile, gets nothing
   * through ever again. */
  blackHole(): void
  restore(): Promise<void>
  stop(): Promise<void>
}

interface Link {
  readonly client: Socket
  readonly upstream: Socket
  isLost: boolean
}

export async function startTcpProxy(databaseUrl: string): Promise<TcpProxy> {
  const target = new URL(databaseUrl)
  const links = new Set<Link>()
  let connections = 0
  let mode: 'passing' | 'stalled' | 'swallowing' = 'passing'

  const both = ({ client, upstream }: Link) =>
    [
      [client, upstream],
      [upstream, client],
    ] as const

  const obey = (link: Link) => {
    link.isLost ||= mode === 'swallowing'
    for (const [from, to] of both(link)) {
      from.unpipe(to)
      if (link.isLost) from.resume()
      else if (mode === 'stalled') from.pause()
      else from.pipe(to)
    }
  }
  /** What one side closed is closed on the other, unless that is not to be heard. */
  const settle = (link: Link) => {
    if (mode !== 'passing') return
    if (link.client.destroyed || link.upstream.destroyed) {
      for (const [socket] of both(link)) socket.destroy()
      links.delete(link)
    }
  }

  const server = createServer((client) => {
    connections++
    const link = { client, upstream: connect(Number(target.port), target.hostname), isLost: false }
    links.add(link)
    for (const [from] of both(link)) {
      from.on('error', () => {})
      from.once('close', () => settle(link))
    }
    obey(link)
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const cut = () => {
    for (const link of links) {
      for (const [socket] of both(link)) socket.destroy()
      links.delete(link)
    }
  }
  const refuse = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    cut()
    await closed
  }
  const become = (next: typeof mode) => {
    mode = next
    for (const link of links) {
      obey(link)
      settle(link)
    }
  }

  const port = await listen(0)
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${port}`
  return {
    url: url.href,
    get connections() {
      return connections
    },
    get sockets() {
      return [...links].flatMap((link) => both(link)).filter(([socket]) => !socket.destroyed).length
    },
    cut,
    refuse,
    stall: () => become('stalled'),
    blackHole: () => become('swallowing'),
    async restore() {
      become('passing')
      if (!server.listening) await listen(port)
    },
    stop: refuse,
  }
}
