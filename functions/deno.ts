/* Postbag as a Deno server, on a machine of yours or on Deno Deploy. Its main module is two lines (README.md):
 *
 *   import { startServer } from 'npm:postbag/deno'
 *   await startServer()
 *
 * Deno Deploy runs it as "deno run" does: it says where to listen, and ends it with SIGINT. (Not a default export for "deno serve": that
 * keeps the server to itself, so nobody could stop it in order, and waiting receives would be cut.) */
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

/** Of Deno's own API, what is used here. */
declare const Deno: {
  readonly env: { toObject(): Record<string, string> }
  serve(
    options: { readonly hostname: string; readonly port: number; onListen(): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> }
  exit(code: number): never
  addSignalListener(signal: 'SIGINT' | 'SIGTERM', listener: () => void): void
  removeSignalListener(signal: 'SIGINT' | 'SIGTERM', listener: () => void): void
}

const signals = ['SIGINT', 'SIGTERM'] as const

/** Start a server, which SIGINT and SIGTERM stop in order. Options default to what the environment says (serverConfig in src/config.ts).
 * @param finishMillis how long its stop() waits at most for what is being answered. Deno has no way to cut it then: that is left to the end of the
 * program, and a signal ends it.
 * @throws Error with a sentence that says what to set; Deno's own if it cannot listen. */
export async function startServer(
  options: ServerProcessOptions = ofEnvironment(),
  finishMillis = longestFinishMillis,
): Promise<RunningServer> {
  const { access, host, port } = options
  refuseOpenDoor(access, host)
  const live = createProcess({ ...options, attempt: createTransport().attempt })
  const server = await orStop(live, () =>
    Deno.serve({ hostname: host, port, onListen() {} }, (request) => live.fetch(request)),
  )

  let isLeft = false
  const finish = async () => {
    const patience = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      isLeft = true
      patience.resolve()
    }, finishMillis)
    await Promise.race([server.shutdown(), patience.promise])
    clearTimeout(timer)
  }
  const stop = () =>
    live.stop(finish).finally(() => {
      for (const signal of signals) Deno.removeSignalListener(signal, stopAndEnd)
    })
  const stopAndEnd = async () => {
    await stop()
    if (isLeft) Deno.exit(0)
  }
  for (const signal of signals) Deno.addSignalListener(signal, stopAndEnd)
  return { url: urlOf(host, server.addr.port), stop }
}

/** Where somebody else says where to listen, it is not on loopback only. */
function ofEnvironment(): ServerProcessOptions {
  const env = Deno.env.toObject()
  const isPlaced = env['DENO_DEPLOY'] || env['DENO_SERVE_ADDRESS']
  return hostedConfig(isPlaced ? { ...env, HOST: '0.0.0.0' } : env)
}
