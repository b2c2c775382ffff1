/* Runs a Worker in workerd, the runtime of Cloudflare Workers, on this machine. */
import { Miniflare } from 'miniflare'
import { bundle } from './bundle.ts'

export interface RunningWorker {
  /** Base address on 127.0.0.1, without a slash at the end. */
  readonly url: string
  readonly gzipBytes: number
  stop(): Promise<void>
}

/** Bundle an entry and serve it. `databaseUrl` is what its Hyperdrive binding HYPERDRIVE connects to; `vars` are its text bindings. */
export async function startWorker(
  entry: string,
  databaseUrl: string,
  vars: Readonly<Record<string, string>> = {},
): Promise<RunningWorker> {
  const { code, gzipBytes } = await bundle(entry)
  const worker = new Miniflare({
    modules: true,
    script: code,
    compatibilityDate: '2026-07-01',
    compatibilityFlags: ['nodejs_compat'],
    hyperdrives: { HYPERDRIVE: databaseUrl },
    bindings: { ...vars },
    host: '127.0.0.1',
    port: 0,
  })
  const url = await worker.ready
  return { url: url.origin, gzipBytes, stop: () => worker.dispose() }
}
