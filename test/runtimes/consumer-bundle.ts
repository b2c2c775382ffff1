/* Bundles of programs that import 'postbag', as modules of Node: they start in a fraction of the time that their sources take. */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** Write each program as `folder/<its name>.mjs`. */
export async function bundlePrograms(files: readonly URL[], folder: string): Promise<void> {
  await build({
    entryPoints: files.map((file) => ({ in: fileURLToPath(file), out: basename(file.pathname, '.ts') })),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    alias: { postbag: fileURLToPath(new URL('../../src/index.ts', import.meta.url)) },
    // (For what pg, which is no module of this kind, requires.)
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
    logLevel: 'error',
  })
}
