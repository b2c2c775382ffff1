/* A payment provider to try: POST /charges charges once per Idempotency-Key, and answers every later request with that key as it
 * answered the first; the same key with another body is refused. GET /charges shows all charges. It forgets everything when it ends. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

interface Charge {
  readonly charge: string
  readonly key: string
  /** The body of its first request, as it came. */
  readonly request: string
  /** How many requests had this key. */
  requests: number
}

const charges = new Map<string, Charge>()

const server = createServer(async (request, response) => {
  const answer = (status: number, body: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  const body = await text(request)
  if (request.url !== '/charges') return answer(404, { error: 'there is nothing but /charges' })
  if (request.method === 'GET') return answer(200, { charges: [...charges.values()] })
  const key = request.headers['idempotency-key']
  if (typeof key !== 'string') return answer(400, { error: 'Idempotency-Key must be given' })

  const known = charges.get(key)
  const charge = known ?? { charge: `charge-${charges.size + 1}`, key, request: body, requests: 0 }
  if (charge.request !== body) return answer(400, { error: 'Idempotency-Key was given with another body' })
  charge.requests++
  charges.set(key, charge)
  return answer(200, { charge: charge.charge })
})

server.listen(Number(process.env['PORT'] ?? 8790), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
