/* Bundles for Workers and browsers, made the way wrangler makes them. */
import { isBuiltin } from 'node:module'
import { gzipSync } from 'node:zlib'
import { build, type Plugin } from 'esbuild'

export interface Bundle {
  readonly code: string
  readonly gzipBytes: number
}

export async function bundle(entry: string): Promise<Bundle> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
    external: ['cloudflare:*'],
    plugins: [nodeModules],
    logLevel: 'error',
  })
  const code = outputFiles[0]?.text ?? ''
  return { code, gzipBytes: gzipSync(code).length }
}

/** Workers bring Node's modules themselves (nodejs_compat), but for import only: what CommonJS packages require() becomes an import. */
const nodeModules: Plugin = {
  name: 'node-modules',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /.*/ }, ({ path, kind }) => {
      if (!isBuiltin(path)) return undefined
      const name = path.startsWith('node:') ? path : `node:${path}`
      return kind === 'require-call' ? { path: name, namespace: 'required' } : { path: name, external: true }
    })
    onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => ({
      contents: `import module from '${path}'; export = module`,
      loader: 'ts',
    }))
  },
}
