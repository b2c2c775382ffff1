/* Going away from a server that notices it by itself. */
import assert from 'node:assert/strict'

/** As Target.leave, with the whole address. */
export async function leaveByFetch(url: string, request: RequestInit, afterMillis: number): Promise<void> {
  const signal = AbortSignal.timeout(afterMillis)
  const answer = fetch(url, { ...request, signal }).then((response) => response.text())
  await assert.rejects(answer, { name: 'TimeoutError' })
}
