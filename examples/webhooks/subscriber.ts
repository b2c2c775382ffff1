/* A subscriber: takes webhooks that are signed with a secret in a file (one a line, read anew for each webhook), and prints them. With the
 * argument "broken" it answers 503 until it is mended (POST /mend).
 *   npm run example webhooks/subscriber <file of the secret> [broken] */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyWebhook, WebhookError } from 'postbag/webhooks'

const [file = '', state] = process.argv.slice(2)
let isBroken = state === 'broken'

async function take(request: IncomingMessage): Promise<number> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  if (request.url === '/mend') isBroken = false
  if (request.url === '/mend') return 204
  if (isBroken) return 503
  try {
    const secrets = (await readFile(file, 'utf8')).trim().split('\n')
    const { id, body } = await verifyWebhook({ headers: request.headers, body: Buffer.concat(parts) }, secrets)
    console.log(`took ${id}: ${body}`)
    return 204
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error
    console.log(`refused: ${error.message}`)
    return 400
  }
}

const server = createServer(async (request, response) => response.writeHead(await take(request)).end())
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
