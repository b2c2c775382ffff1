/* Attempts with fetch, in workerd. */
import { startWorkerAttempts } from '../runtimes/attempts.ts'
import { hostileSuite } from './hostile-suite.ts'
import { refusedSuite } from './refused.ts'

hostileSuite('Workers', startWorkerAttempts, 'fetch')
refusedSuite('Workers', startWorkerAttempts)
