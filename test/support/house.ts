/* The rules of the house that no tool holds, as pure functions: they take paths and texts, and return what is wrong in sentences.
 *
 * 1. Who may import whom (RULES below, the one place where it is written down for machines; src/README.md tells why).
 * 2. `node:` modules appear only where a platform may be touched, and what sends webhooks with them is imported only there; the core
 *    runs in Workers.
 * 3. Every source file opens with a comment that says what it is for.
 * 4. A file in migrations/fixtures/functions holds one SQL function, named like the file.
 */
import { posix } from 'node:path'

interface Rule {
  /** Folders (ending in "/") and files of the project, as path prefixes. A part may always import itself. */
  readonly parts: readonly string[]
  /** Packages, by name. */
  readonly packages: readonly string[]
}

const BASE = ['src/config.ts', 'src/limits.ts', 'src/errors.ts', 'src/clock.ts', 'src/wire.ts', 'src/wire/']
const DOMAIN = ['src/queue/', 'src/exchange/', 'src/wakeup/', 'src/webhooks/', 'src/schedule/']
const WEB = ['hono', '@hono/zod-openapi', 'zod']
const door: Rule = { parts: [...BASE, 'src/db/', ...DOMAIN], packages: WEB }
const anything: Rule = { parts: ['src/', 'functions/', 'test/', 'examples/'], packages: ['*'] }

/** The longest prefix that fits a file is its part. A file of src/ that fits none has no place in the house. */
const RULES: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(BASE.map((file) => [file, { parts: BASE, packages: [] }])),
  'src/wire/': { parts: [], packages: [] },
  'src/db/': { parts: BASE, packages: ['pg', 'kysely'] },
  'src/queue/': { parts: [...BASE, 'src/db/'], packages: ['pg', 'kysely'] },
  'src/exchange/': { parts: [...BASE, 'src/db/', 'src/queue/'], packages: ['pg', 'kysely'] },
  'src/wakeup/': { parts: [...BASE, 'src/db/', 'src/queue/'], packages: ['pg', 'kysely', 'cloudflare:workers'] },
  'src/webhooks/signing/': { parts: ['src/limits.ts', 'src/wire.ts'], packages: [] },
  'src/webhooks/': {
    parts: [...BASE, 'src/db/', 'src/queue/', 'src/exchange/'],
    packages: ['pg', 'kysely', 'cloudflare:workers'],
  },
  'src/webhooks/node/': { parts: [...BASE, 'src/webhooks/'], packages: [] },
  'src/schedule/': { parts: [...BASE, 'src/db/', 'src/queue/', 'src/exchange/'], packages: ['pg', 'kysely'] },
  'src/outbox/': { parts: ['src/db/call.ts', 'src/db/connect.ts', 'src/db/through.ts'], packages: [] },
  'src/http/': door,
  'src/sqs/': door,
  'src/amqp/': door,
  'src/dashboard/': door,
  'src/app.ts': { parts: ['src/'], packages: WEB },
  'src/process.ts': {
    parts: ['src/app.ts', 'src/config.ts', 'src/db/connect.ts', 'src/wakeup/', 'src/webhooks/'],
    packages: [],
  },
  'src/index.ts': { parts: ['src/'], packages: [] },
  'src/client/': { parts: ['src/wire.ts', 'src/errors.ts'], packages: [] },
  'src/cli/': { parts: ['src/', 'functions/'], packages: ['pg', 'commander', 'zod', '@hono/node-server'] },
  'functions/': {
    parts: [
      'src/app.ts',
      'src/process.ts',
      'src/config.ts',
      'src/db/connect.ts',
      'src/db/uncached.ts',
      'src/wakeup/',
      'src/webhooks/worker.ts',
      'src/webhooks/durable-object.ts',
      'src/webhooks/node/',
    ],
    packages: ['@hono/node-server', 'hono', 'cloudflare:workers', '@vercel/functions'],
  },
  'test/': anything,
  'examples/': anything,
  'bin/': anything,
}

/** Where `node:` modules may appear. Path prefixes; those that end in ".ts" are whole files. */
const NODE_ALLOWED = [
  'functions/',
  'src/cli/',
  'src/db/give-way.ts',
  'src/db/install.ts',
  'src/db/embedded',
  'src/webhooks/node/',
  'test/',
  'examples/',
  'bin/',
]
const NODE_FORBIDDEN = ['functions/cloudflare.ts', 'functions/deno.ts', 'functions/bun.ts', 'functions/supabase.ts']

/** Needs sockets, so only those who know their platform import it: nothing else of src/, and not the Worker. */
const SOCKETS = 'src/webhooks/node/'
const SOCKETS_ALLOWED = [SOCKETS, 'functions/', 'src/cli/', 'test/', 'examples/']
const SOCKETS_FORBIDDEN = ['functions/cloudflare.ts']

/** What is wrong with the imports of one file. `path` is relative to the root of the repository. */
export function importFaults(path: string, text: string): string[] {
  const part = partOf(path)
  if (!part) return [`${path}: this folder or file has no place in the house (see src/README.md)`]
  const rule = RULES[part] as Rule
  return importsOf(text).flatMap((name) => {
    if (name.startsWith('node:')) {
      const allowed = startsWithAny(path, NODE_ALLOWED) && !startsWithAny(path, NODE_FORBIDDEN)
      return allowed ? [] : [`${path}: imports ${name}, but must run where there is no Node`]
    }
    if (name.startsWith('.')) {
      const target = posix.join(posix.dirname(path), name)
      // Every file in functions/ is an entry of its own, so there a part is a file.
      const own = part === 'functions/' ? target === path : startsWithAny(target, [part])
      if (target.startsWith(SOCKETS)) {
        const mayUse = startsWithAny(path, SOCKETS_ALLOWED) && !startsWithAny(path, SOCKETS_FORBIDDEN)
        if (!mayUse) return [`${path}: imports ${target}, but must run where there are no sockets`]
      }
      return own || startsWithAny(target, rule.parts) ? [] : [`${path}: ${part} must not import ${target}`]
    }
    const packageName = /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name
    const allowed = rule.packages.includes('*') || rule.packages.includes(packageName)
    return allowed ? [] : [`${path}: ${part} must not import the package ${packageName}`]
  })
}

/** Every source file says what it is for before anything else. */
export function commentFaults(path: string, text: string): string[] {
  const opening = text.replace(/^#!.*\n/, '').trimStart()
  const comment = path.endsWith('.sql') ? /^(\/\*|--(?!!))/ : /^(\/\*|\/\/)/
  return comment.test(opening) ? [] : [`${path}: must open with a comment that says what it is for`]
}

/** One SQL function per file, named like the file. */
export function functionFaults(path: string, text: string): string[] {
  const made = [...text.matchAll(/^\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+([\w.]+)/gim)].map(
    (m) => m[1],
  )
  const expected = `postbag.${posix.basename(path, '.sql')}`
  if (made.length === 1 && made[0] === expected) return []
  return [`${path}: must make exactly one function, ${expected}, but makes ${made.join(', ') || 'none'}`]
}

function partOf(path: string): string | undefined {
  return Object.keys(RULES)
    .filter((prefix) => (prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix))
    .sort((a, b) => b.length - a.length)[0]
}

function startsWithAny(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => path.startsWith(prefix))
}

/** Names in import and export statements and in import(), comments left out. */
export function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
  const statement = /^\s*(?:import|export)\b[^'"`]*?\bfrom\s*['"]([^'"]+)['"]/gm
  const bare = /^\s*import\s*['"]([^'"]+)['"]/gm
  const dynamic = /\bimport\(\s*['"]([^'"]+)['"]/g
  return [statement, bare, dynamic].flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] as string))
}
