/* The native part of AWS's runtime client in JavaScript: ask for the next invocation, and say how it ended. Its `done` and `error` block until
 * they are answered; here, what comes next waits instead. */
import { Agent, type OutgoingHttpHeaders, request } from 'node:http'

const runtime = `http://${process.env['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation`
const agent = new Agent({ keepAlive: true })
let told: Promise<unknown> = Promise.resolve()

export async function next() {
  await told
  return ask('GET', 'next')
}

export function done(id: string, body: string): void {
  told = ask('POST', `${id}/response`, body)
}

export function error(id: string, body: string, xray: string): void {
  told = ask('POST', `${id}/error`, body, { 'lambda-runtime-function-xray-error-cause': xray.replaceAll('\n', '') })
}

function ask(method: string, path: string, body = '', headers: OutgoingHttpHeaders = {}) {
  return new Promise<{ bodyJson: string; headers: object }>((resolve, reject) => {
    const asked = request(`${runtime}/${path}`, { method, agent, headers }, async (answer) => {
      const bytes: Buffer[] = []
      for await (const chunk of answer) bytes.push(chunk)
      resolve({ bodyJson: Buffer.concat(bytes).toString(), headers: answer.headers })
    })
    asked.on('error', reject)
    asked.end(body)
  })
}
