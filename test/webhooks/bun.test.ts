/* The transport over sockets, in Bun. */
import { startAttempts } from '../runtimes/attempts.ts'
import { startBun } from '../runtimes/process.ts'
import { connectionsSuite } from './connections.ts'
import { hostileSuite } from './hostile-suite.ts'
import { refusedSuite } from './refused.ts'
import { resolvedSuite } from './resolved.ts'
import { secureSuite } from './secure.ts'

hostileSuite('Bun', () => startAttempts(startBun))
refusedSuite('Bun', () => startAttempts(startBun))
resolvedSuite('Bun', (options) => startAttempts(startBun, options))
secureSuite('Bun', (options) => startAttempts(startBun, options))
connectionsSuite('Bun', (options) => startAttempts(startBun, options))
