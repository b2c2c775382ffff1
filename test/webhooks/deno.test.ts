/* The transport over sockets, in Deno. */
import { startAttempts } from '../runtimes/attempts.ts'
import { type ProgramOptions, startDeno } from '../runtimes/process.ts'
import { connectionsSuite } from './connections.ts'
import { hostileSuite } from './hostile-suite.ts'
import { refusedSuite } from './refused.ts'
import { resolvedSuite } from './resolved.ts'
import { secureSuite } from './secure.ts'

/** `ca` is what node:https needs in Deno (docs/webhook-safety.md); networkInterfaces, what asking another name server than the
 * machine's does. */
const rights = ['--allow-sys=ca,networkInterfaces']
const start = (program: string, options: ProgramOptions) => startDeno(program, { ...options, rights })

hostileSuite('Deno', () => startAttempts(start))
refusedSuite('Deno', () => startAttempts(start))
resolvedSuite('Deno', (options) => startAttempts(start, options))
secureSuite('Deno', (options) => startAttempts(start, options))
connectionsSuite('Deno', (options) => startAttempts(start, options))
