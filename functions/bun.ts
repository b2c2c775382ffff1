/* Postbag as a Bun server. Its main module is two lines (README.md):
 *
 *   import { startServer } from 'postbag/bun'
 *   await startServer()                                   */
import { hostedConfig, refuseOpenDoor } from '../src/config.ts'
import {
  createProcess,
  longestFinishMillis,
  orStop,
  type RunningServer,
  type ServerProcessOptions,
  urlOf,
} from '../src/process.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

/** Of Bun's own API, what is used here. */
declare const Bun: {
  serve(options: {
    readonly hostname: string
    readonly port: number
    readonly idleTimeout: number
    fetch(request: Request): Response | Promise<Response>
  }): { readonly port: number; stop(closeActiveConnections?: boolean): Promise<void> }
}

/** Bun cuts a connection on which nothing came or went for so many seconds: 10 by default, less than a receive may wait; 255 at most. */
const idleTimeout = 255

const signals = ['SIGINT', 'SIGTERM'] as const

/** Start a server, which SIGINT and SIGTERM stop in order. Options default to what the environment says (serverConfig in src/config.ts).
 * @param finishMillis how long its stop() waits at most for what is being answered
 * @throws Error with a sentence that says what to set; Bun's own if it cannot listen. */
export async function startServer(
  options: ServerProcessOptions = hostedConfig(process.env),
  finishMillis = longestFinishMillis,
): Promise<RunningServer> {
  const { access, host, port } = options
  refuseOpenDoor(access, host)
  const live = createProcess({ ...options, attempt: createTransport().attempt })
  const server = await orStop(live, () =>
    Bun.serve({ hostname: host, port, idleTimeout, fetch: (request) => live.fetch(request) }),
  )

  const finish = async () => {
    const timer = setTimeout(() => server.stop(true), finishMillis)
    await server.stop()
    clearTimeout(timer)
  }
  const stop = () =>
    live.stop(finish).finally(() => {
      for (const signal of signals) process.off(signal, stop)
    })
  for (const signal of signals) process.on(signal, stop)
  return { url: urlOf(host, server.port), stop }
}
