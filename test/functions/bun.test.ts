/* The Bun server's own duties; what it shares with every runtime is in test/conformance/. */
import { startBun } from '../runtimes/process.ts'
import { bunCatchingProgram, bunProgram } from '../runtimes/programs.ts'
import { ownServerOf } from './own-server.ts'

ownServerOf({
  name: 'Bun',
  start: (options) => startBun(bunProgram, options),
  startCatching: (options) => startBun(bunCatchingProgram, options),
})
