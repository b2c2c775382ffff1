/* The Bun server's own duties; what it shares with every runtime is in test/conformance/. */
import { startBun } from '../runtimes/process.ts'
import { ownServer } from '../runtimes/programs.ts'
import { ownServerOf } from './own-server.ts'

ownServerOf({ name: 'Bun', start: (options, how) => startBun(ownServer('bun', how), options) })
