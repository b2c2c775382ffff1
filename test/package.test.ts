/* What npm publishes: it builds, its types and entries are right for every kind of importer, and it runs without the sources. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bundle } from './runtimes/bundle.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const tools = join(root, 'test/runtimes/node_modules/.bin')
const folder = mkdtempSync(join(tmpdir(), 'postbag-package-'))
const app = join(folder, 'app')
const bare = mkdtempSync(join(tmpdir(), 'postbag-bare-'))
const installed = join(app, 'node_modules/postbag')
let tarball = ''

after(() => {
  for (const made of [folder, bare]) rmSync(made, { recursive: true, force: true })
})

describe('the package', () => {
  before(() => {
    run('npm', ['run', '--silent', 'build'])
    const packed = run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder])
    tarball = join(folder, packed.trim())
    installPacked()
  })

  test('is well formed (publint)', () => {
    run(join(tools, 'publint'), ['run', tarball, '--strict'])
  })

  test('has the right types for every importer (are the types wrong)', () => {
    run(join(tools, 'attw'), [tarball, '--profile', 'esm-only', '--no-emoji', '--quiet'])
  })

  test('holds the migrations, the build and a Worker’s settings, but no sources and no tests', () => {
    assert.deepEqual(readdirSync(installed).sort(), [
      'LICENSE',
      'README.md',
      'bin',
      'dist',
      'migrations',
      'package.json',
      'wrangler.toml',
    ])
    const [, main = ''] = /^main = "(.*)\.ts"$/m.exec(readFileSync(join(installed, 'wrangler.toml'), 'utf8')) ?? []
    assert.ok(existsSync(join(installed, `dist/${main}.js`)), main)
    assert.deepEqual(readdirSync(join(installed, 'migrations')), ['committed'])
  })

  test('can be imported by each of its names', () => {
    for (const name of [
      'postbag',
      'postbag/client',
      'postbag/node',
      'postbag/local',
      'postbag/deno',
      'postbag/bun',
      'postbag/supabase',
      'postbag/lambda',
      'postbag/vercel',
      'postbag/endpoints',
      'postbag/sqs-handler',
      'postbag/webhooks',
    ]) {
      const code = `const all = await import('${name}'); if (Object.keys(all).length === 0) throw new Error('empty')`
      run(process.execPath, ['--input-type=module', '--eval', code], app)
    }
  })

  test('has types that need no package, but for those of Cloudflare’s runtime, and of pg where it speaks of a pool', () => {
    const { dependencies, exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
    const names = Object.keys(exports).flatMap((path) => (/json$/.test(path) ? [] : [path.replace('.', 'postbag')]))
    installBare(Object.keys(dependencies))

    assert.equal(typeFaults(names.filter((name) => !['postbag', 'postbag/cloudflare'].includes(name))), '')
    assert.doesNotMatch(typeFaults(['postbag']), /error (?!TS7016: .* module 'pg')/)

    symlinkSync(join(root, 'node_modules/@types'), join(bare, 'node_modules/@types'))
    assert.equal(typeFaults(['postbag']), '')
  })

  test('has a command that runs without the sources', () => {
    assert.match(run(process.execPath, [join(installed, 'bin/postbag.js'), '--version'], app), /^\d+\.\d+\.\d+/)
  })
})

describe('the client', () => {
  test('is less than 7.7 kB when bundled and compressed', async (t) => {
    const { gzipBytes } = await bundle(join(root, 'src/client/index.ts'))

    t.diagnostic(`${gzipBytes} bytes`)
    assert.ok(gzipBytes < 7700, `${gzipBytes} bytes`)
  })
})

describe('what receivers of webhooks import', () => {
  test('is less than 3 kB when bundled and compressed', async (t) => {
    const { gzipBytes } = await bundle(join(root, 'src/webhooks/signing/index.ts'))

    t.diagnostic(`${gzipBytes} bytes`)
    assert.ok(gzipBytes < 3000, `${gzipBytes} bytes`)
  })
})

/** Unpack the tarball as npm would, where it finds the dependencies it names and nothing else of this repository. */
function installPacked(): void {
  mkdirSync(installed, { recursive: true })
  run('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed])
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

/** The package beside its dependencies, and nothing else: no types that others bring. */
function installBare(dependencies: readonly string[]): void {
  mkdirSync(join(bare, 'node_modules/@hono'), { recursive: true })
  cpSync(installed, join(bare, 'node_modules/postbag'), { recursive: true })
  for (const name of dependencies) symlinkSync(join(root, 'node_modules', name), join(bare, 'node_modules', name))
}

/** What the compiler says to a program that imports all of these. */
function typeFaults(names: readonly string[]): string {
  const program = names.map((name) => `export * as ${name.replaceAll(/\W/g, '_')} from '${name}'\n`)
  writeFileSync(join(bare, 'program.mts'), program.join(''))
  const options = '--strict --noEmit --skipLibCheck false --module nodenext --pretty false'.split(' ')
  try {
    return run(join(root, 'node_modules/.bin/tsc'), [...options, 'program.mts'], bare)
  } catch (error) {
    return (error as Error).message.replace(/^.* failed:\n/, '')
  }
}

/** Standard output; throws with all output if the command fails. */
function run(command: string, args: readonly string[], cwd = root): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} failed:\n${stdout}${stderr}`)
  }
}
