/* Attempts where there is only fetch: Cloudflare Workers. The platform resolves names itself and tells no address, so what is checked
 * here is what the URL says; that a Worker's fetch reaches no private network is the platform's promise (docs/webhook-safety.md). It
 * may also decompress what it gets, in pieces as they are read; reading ends where keeping does. */
import { keptBodyBytes } from '../limits.ts'
import { headOf, type KeptBody, keepBody } from './answer.ts'
import { AttemptFailure, attemptBy, type Sending, type Sent } from './attempt.ts'

export const attemptWithFetch = attemptBy(send, (error) => new AttemptFailure('connection', String(error)))

async function send({ url, headers, body, signal, now }: Sending): Promise<Sent> {
  const response = await fetch(url.href, { method: 'POST', headers, body, redirect: 'manual', signal })
  const kept = keepBody()
  const isComplete = await read(response, kept).catch(() => false)
  return { head: headOf(response.status, response.headers, now), body: kept, isComplete, isResent: false }
}

/** Whether the body came to its end. The head has come, so whatever ends the reading is no failure. */
async function read(response: Response, kept: KeptBody): Promise<boolean> {
  const reader = response.body?.getReader()
  if (!reader) return true
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return true
    if (kept.take(value) > keptBodyBytes) {
      await reader.cancel()
      return false
    }
  }
}
