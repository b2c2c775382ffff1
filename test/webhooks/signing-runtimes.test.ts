/* Signing and verifying in the real runtimes of senders and receivers, ed25519 included: the same answers everywhere. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startBun, startDeno } from '../runtimes/process.ts'
import { startWorker } from '../runtimes/workerd.ts'
import { type Findings, findings } from './signing-findings.ts'

const worker = fileURLToPath(new URL('./signing-worker.ts', import.meta.url))
const module = JSON.stringify(new URL('./signing-findings.ts', import.meta.url).href)

/** Serves the findings at the address that it says. */
const serve = (listen: string) => `import { findings } from ${module}
  const answer = async () => Response.json(await findings())
  ${listen}`
const deno = serve(`Deno.serve({ hostname: '127.0.0.1', port: 0, onListen: ({ port }) =>
  console.log(JSON.stringify({ url: \`http://127.0.0.1:\${port}\` })) }, answer)`)
const bun = serve(`const { port } = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: answer })
  console.log(JSON.stringify({ url: \`http://127.0.0.1:\${port}\` }))`)

const expected: Findings = {
  signature:
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= ' +
    'v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==',
  verified: ['msg_p5jXN8AQM9LWM0D4loKWxJek', 'msg_p5jXN8AQM9LWM0D4loKWxJek'],
  tampered: ['signature_mismatch', 'signature_mismatch'],
  made: ['msg_p5jXN8AQM9LWM0D4loKWxJek', 'msg_p5jXN8AQM9LWM0D4loKWxJek'],
}

describe('signing and verifying gives the same answers', () => {
  test('in Node', async () => assert.deepEqual(await findings(), expected))

  const platforms = {
    Deno: () => startDeno(deno, { env: {} }),
    Bun: () => startBun(bun, { env: {} }),
    workerd: () => startWorker(worker, undefined),
  }
  for (const [name, start] of Object.entries(platforms)) {
    test(`in ${name}`, async () => {
      const running = await start()
      try {
        assert.deepEqual(await (await fetch(running.url)).json(), expected)
      } finally {
        await running.stop()
      }
    })
  }
})
