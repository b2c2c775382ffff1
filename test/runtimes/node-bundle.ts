/* Bundles for functions that run in Node, made with the options that the README names. */
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import type { Bundle } from './bundle.ts'

export async function nodeBundle(entry: string): Promise<Bundle> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    platform: 'node',
    logLevel: 'error',
  })
  const code = outputFiles[0]?.text ?? ''
  return { code, gzipBytes: gzipSync(code).length }
}
