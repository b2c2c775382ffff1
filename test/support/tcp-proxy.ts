/* A TCP proxy before a database, so that tests can take the database away and give it back. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  /** The database's address, through the proxy. */
  readonly url: string
  /** How many connections there have been. */
  readonly connections: number
  /** Cut every connection. */
  cut(): void
  /** Cut every connection, and refuse new ones until `restore`. */
  refuse(): Promise<void>
  restore(): Promise<void>
  stop(): Promise<void>
}

export async function startTcpProxy(databaseUrl: string): Promise<TcpProxy> {
  const target = new URL(databaseUrl)
  const open = new Set<Socket>()
  let connections = 0

  const server = createServer((client) => {
    connections++
    const upstream = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from)
      from.on('error', () => {})
      from.once('close', () => {
        open.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  const refuse = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    cut()
    await closed
  }

  const port = await listen(0)
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${port}`
  return {
    url: url.href,
    get connections() {
      return connections
    },
    cut,
    refuse,
    async restore() {
      await listen(port)
    },
    stop: refuse,
  }
}
