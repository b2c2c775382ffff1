/* Programs that make attempts to deliver webhooks, in other runtimes than the tests'. Each takes an attempt as JSON, and answers its
 * outcome. */
import { type Target, type TargetOptions, targetAt } from '../webhooks/target.ts'
import type { ProgramOptions, RunningProgram } from './process.ts'
import { startWorker } from './workerd.ts'

const source = JSON.stringify(new URL('../webhooks/target.ts', import.meta.url).href)

/** For runtimes with the modules of Node. */
const program = `
  import { createServer } from 'node:http'
  import process from 'node:process'
  import { startHere } from ${source}

  const target = await startHere(JSON.parse(process.env.TARGET))
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request.setEncoding('utf8')) text += piece
    const answer = request.url === '/sockets' ? await target.sockets() : await target.attempt(JSON.parse(text))
    response.end(JSON.stringify(answer))
  })
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: 'http://127.0.0.1:' + server.address().port })))`

type Start = (program: string, options: ProgramOptions) => Promise<RunningProgram>

export async function startAttempts(start: Start, options: TargetOptions = {}): Promise<Target> {
  const { url, stop } = await start(program, { env: { TARGET: JSON.stringify(options) } })
  return targetAt(url, true, () => stop('SIGKILL'))
}

export async function startWorkerAttempts(): Promise<Target> {
  const { url, stop } = await startWorker('test/runtimes/attempt-worker.ts', undefined)
  return targetAt(url, false, stop)
}
