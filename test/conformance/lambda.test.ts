/* The conformance list against the Lambda function, in AWS's runtime client: behind a function URL that streams, and behind API Gateway. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { startLambda } from '../runtimes/lambda.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/lambda.ts', import.meta.url))

for (const { front, handler } of [
  { front: 'function URL', handler: 'streamHandler' },
  { front: 'API Gateway', handler: 'handler' },
] as const) {
  conformanceOf({
    name: `AWS Lambda behind ${front}`,
    cannot: ['sees clients leave', 'hands on large requests', 'hands on broken text'],
    start: ({ databaseUrl, secret, onLog }) =>
      startLambda(entry, { env: { DATABASE_URL: databaseUrl, POSTBAG_SECRET: secret }, front, handler, onLog }),
    async leave(url, request, afterMillis) {
      const left = fetch(url, { ...request, signal: AbortSignal.timeout(afterMillis) })
      await assert.rejects(left, { name: 'TimeoutError' })
    },
  })
}
