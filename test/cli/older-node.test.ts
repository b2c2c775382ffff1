/* The command under a Node that cannot run TypeScript: another one runs it, and a signal to either of the two ends both in order. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { type Running, start } from './command.ts'

/** So it is like one. */
const node = ['--no-experimental-strip-types']

async function startDev(): Promise<Running> {
  const { url } = await createDatabase()
  const dev = start(['dev', '--port', '0'], { env: { DATABASE_URL: url }, node, detached: true })
  await dev.said(/Ctrl-C stops it/)
  return dev
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} to the first of them alone stops the server in order`, async () => {
    const dev = await startDev()

    process.kill(dev.pid, signal)

    const { code, stderr } = await dev.ended
    assert.match(stderr, /\nStopping…\nStopped\.\n$/)
    assert.equal(code, 0)
  })
}

test('a Ctrl-C, which reaches both, is one', async () => {
  const dev = await startDev()

  process.kill(-dev.pid, 'SIGINT')

  const { code, stderr } = await dev.ended
  assert.match(stderr, /\nStopping…\nStopped\.\n$/)
  assert.equal(code, 0)
})

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`a command that ends by ${signal} ends with ${expected}, as a shell says it`, async (t) => {
    const silent = createServer()
    await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening))
    t.after(() => silent.close())
    const { port } = silent.address() as AddressInfo
    const asking = start(['stats', 'orders', '--url', `http://127.0.0.1:${port}`], { node })
    const [socket] = await once(silent, 'connection')
    socket.on('error', () => {})

    process.kill(asking.pid, signal)

    assert.equal((await asking.ended).code, expected)
    socket.destroy()
  })
}

test('an exit code is passed on', async () => {
  assert.equal((await start(['sned'], { node }).ended).code, 2)
})
