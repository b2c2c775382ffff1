/* Preloaded into a consumer (--import), which knows nothing of it: counts the steps of the process's traffic, and stops at one of them.
 *
 * A step is a request that has been handed to the network, or an answer that has come and is not yet read. What the world has seen of
 * the process changes at these moments only, so stopping at each of them in turn is stopping everywhere. STOP_AT is the step (from 1),
 * at which the process kills itself; a process that runs one consumer after the other (runs.ts) says with `stopAt` what else is to be
 * done there. */
import { writeSync } from 'node:fs'
import { Socket } from 'node:net'

let passed = 0
let wanted = Number(process.env['STOP_AT'] ?? 0)
let stop = (step: string) => {
  writeSync(2, `${step}\n`)
  process.kill(process.pid, 'SIGKILL')
}

/** Count anew, and do this at that step (0: never). */
export function stopAt(step: number, act: (step: string) => void): void {
  passed = 0
  wanted = step
  stop = act
}

/** The sockets that go to somewhere, with what was said there last; not the pipes to who started us. */
const said = new WeakMap<Socket, string>()
const { connect, push, _write, _writev } = Socket.prototype

Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
  said.set(this, 'hello')
  return Reflect.apply(connect, this, args)
}

Socket.prototype._write = function (this: Socket, chunk: Uint8Array | string, encoding, done) {
  const handedOver = noted(this, [chunk], done)
  return Reflect.apply(_write, this, [chunk, encoding, handedOver])
}

Socket.prototype._writev = function (this: Socket, chunks: { chunk: Uint8Array | string }[], done) {
  const handedOver = noted(
    this,
    chunks.map(({ chunk }) => chunk),
    done,
  )
  return Reflect.apply(_writev as NonNullable<typeof _writev>, this, [chunks, handedOver])
}

Socket.prototype.push = function (this: Socket, chunk: unknown, ...more: unknown[]) {
  if (chunk && said.has(this)) pass(`answered ${said.get(this)}`)
  return Reflect.apply(push, this, [chunk, ...more])
}

function noted(socket: Socket, chunks: (Uint8Array | string)[], done: (error?: Error | null) => void) {
  if (!said.has(socket)) return done
  const text = chunks
    .map((chunk) => (typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1')))
    .join('')
  const [word = 'hello'] = /postbag\.\w+|begin|commit|rollback|insert into|update|POST/.exec(text) ?? []
  said.set(socket, text.startsWith('X') ? 'goodbye' : word)
  return (error?: Error | null) => {
    if (!error) pass(`sent ${said.get(socket)}`)
    done(error)
  }
}

function pass(step: string): void {
  if (++passed === wanted) stop(step)
}
