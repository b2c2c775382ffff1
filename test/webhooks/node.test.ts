/* The transport over sockets, in Node. */
import { connectionsSuite } from './connections.ts'
import { hostileSuite } from './hostile-suite.ts'
import { refusedSuite } from './refused.ts'
import { resolvedSuite } from './resolved.ts'
import { secureSuite } from './secure.ts'
import { startHere } from './target.ts'

hostileSuite('Node', startHere)
refusedSuite('Node', startHere)
resolvedSuite('Node', startHere)
secureSuite('Node', startHere)
connectionsSuite('Node', startHere)
