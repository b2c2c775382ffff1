/* Receivers of webhooks on 127.0.0.1, as bare sockets, so that they can do what no HTTP server would; and what they saw. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'

export interface Receiver {
  readonly port: number
  /** How many connections there have been, and how many are open. */
  readonly connections: number
  readonly open: number
  /** Of the sockets that it has had. */
  readonly writtenBytes: number
  /** All that came, one text per connection. */
  readonly received: readonly string[]
  /** The host names that were asked for in handshakes. */
  readonly names: readonly string[]
  stop(): Promise<void>
}

/** @param behave what it does with each connection; the number counts them from 0 */
export async function startReceiver(
  behave: (socket: Socket, number: number) => void,
  tls?: TlsOptions,
): Promise<Receiver> {
  const sockets: Socket[] = []
  const received: string[] = []
  const names: string[] = []
  const onConnection = (socket: Socket) => {
    const number = sockets.push(socket) - 1
    received.push('')
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      received[number] += bytes.toString('latin1')
    })
    behave(socket, number)
  }
  const server: Server = tls ? createTlsServer(tls) : createServer()
  server.on(tls ? 'secureConnection' : 'connection', onConnection)
  server.on('secureConnection', ({ servername }: TLSSocket) => names.push(String(servername)))
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return sockets.length
    },
    get open() {
      return sockets.filter((socket) => !socket.destroyed).length
    },
    get writtenBytes() {
      return sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0)
    },
    received,
    names,
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Once a request has begun to come. */
export function answering(answer: string | Uint8Array): (socket: Socket) => void {
  return (socket) => socket.on('data', () => socket.write(answer))
}

/** Once a request has begun to come, on each connection but for the first time only. */
export function onRequest(then: (socket: Socket) => void): (socket: Socket) => void {
  return (socket) => socket.once('data', () => then(socket))
}

/** Write the same again and again, as fast as it is taken, until the other side has gone. */
export function flood(socket: Socket, piece: string): void {
  while (!socket.destroyed && socket.write(piece));
  if (!socket.destroyed) socket.once('drain', () => flood(socket, piece))
}

/** Write one piece after the other, as slowly as a receiver that wants to hold a place. */
export function drip(socket: Socket, piece: string): void {
  const timer = setInterval(() => socket.write(piece), 10)
  socket.once('close', () => clearInterval(timer))
}
