/* A light HTTP client: one request at a time over one kept connection, with requests that are bytes already. fetch and node:http cost
 * the measuring side more than the measured one. */
import { connect, type Socket } from 'node:net'

interface Answer {
  readonly status: number
  readonly text: string
}

/** The bytes of a POST with a JSON body. */
export function post(url: string, json: string): Buffer {
  const { host, pathname } = new URL(url)
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `host: ${host}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(json)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${json}`)
}

export interface HttpConnection {
  /** Resolves with the answer; rejects if the connection breaks. */
  ask(request: Buffer): Promise<Answer>
  close(): void
}

async function openHttp(url: string): Promise<HttpConnection> {
  const { hostname, port } = new URL(url)
  const socket: Socket = connect({ host: hostname, port: Number(port), noDelay: true })
  let received = Buffer.alloc(0)
  let waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined
  const opened = Promise.withResolvers<void>()
  const fail = (error: Error) => {
    opened.reject(error)
    waiting?.reject(error)
    waiting = undefined
  }
  socket.on('connect', () => opened.resolve())
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))
  socket.on('data', (chunk) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    const answer = parse(received)
    if (!answer) return
    received = Buffer.alloc(0)
    const { resolve } = waiting ?? {}
    waiting = undefined
    resolve?.(answer)
  })
  await opened.promise
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        socket.write(request)
      }),
    close: () => socket.destroy(),
  }
}

/** So many connections to one server. */
export function openManyHttp(url: string, connections: number): Promise<HttpConnection[]> {
  return Promise.all(Array.from({ length: connections }, () => openHttp(url)))
}

/** The answer, if all of it is there: with its length, or in chunks. */
function parse(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const status = Number(head.slice(9, 12))
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (length) {
    const end = headEnd + 4 + Number(length[1])
    return bytes.length < end ? undefined : { status, text: bytes.toString('utf8', headEnd + 4, end) }
  }
  const text = joinChunks(bytes, headEnd + 4)
  return text === undefined ? undefined : { status, text }
}

function joinChunks(bytes: Buffer, start: number): string | undefined {
  const parts: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const end = lineEnd + 2 + size + 2
    if (bytes.length < end) return undefined
    if (size === 0) return Buffer.concat(parts).toString()
    parts.push(bytes.subarray(lineEnd + 2, end - 2))
    at = end
  }
}
