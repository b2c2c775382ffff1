/* A process that starts the embedded database of the folder it is given, says so on standard output, and stays: for tests that
 * kill it, or that start a second one beside it. */
import { startEmbedded } from '../../src/db/embedded.ts'

const { url, pid, stop } = await startEmbedded({ dataDir: process.argv[2] as string })
process.once('SIGINT', stop)
console.log(JSON.stringify({ url, pid }))
