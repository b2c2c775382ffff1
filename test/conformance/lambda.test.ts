/* The conformance list against the Lambda function, in AWS's runtime client: behind a function URL that streams; and behind API Gateway, as far as
 * that makes a difference. */
import { fileURLToPath } from 'node:url'
import { startLambda } from '../runtimes/lambda.ts'
import { carriedCases, cases } from './cases.ts'
import { leaveByFetch } from './leave.ts'
import { conformanceOf } from './suite.ts'

const entry = fileURLToPath(new URL('../../functions/lambda.ts', import.meta.url))

for (const { front, handler, buffers, held } of [
  { front: 'function URL', handler: 'streamHandler', buffers: [], held: cases },
  { front: 'API Gateway', handler: 'handler', buffers: ['streams answers'], held: carriedCases },
] as const) {
  conformanceOf({
    name: `AWS Lambda behind ${front}`,
    cases: held,
    // Each request at the same time is a process more.
    concurrency: 4,
    cannot: ['sees clients leave', 'hands on large requests', 'hands on broken text', ...buffers],
    start: ({ databaseUrl, secret, webhooks, onLog }) =>
      startLambda(entry, {
        env: { DATABASE_URL: databaseUrl, POSTBAG_SECRET: secret, POSTBAG_INVOKES_ITSELF: 'true', ...webhooks },
        front,
        handler,
        onLog,
      }),
    leave: leaveByFetch,
  })
}
