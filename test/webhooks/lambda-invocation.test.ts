/* A Lambda function invokes itself: signed as AWS's own SDK signs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signedInvocation } from '../../src/webhooks/node/lambda-invocation.ts'
import { authorizationOf, credentials, region } from '../runtimes/aws-signature.ts'

const now = new Date('2026-11-28T09:08:07.123Z')

for (const [what, more] of [
  ['the newest version', { AWS_LAMBDA_FUNCTION_VERSION: '$LATEST' }],
  ['a version', { AWS_LAMBDA_FUNCTION_VERSION: '17' }],
  ['another endpoint, with a port', { AWS_ENDPOINT_URL_LAMBDA: 'http://127.0.0.1:4566' }],
] as const) {
  test(`of ${what}`, async () => {
    const env = { ...credentials, AWS_REGION: region, AWS_LAMBDA_FUNCTION_NAME: 'postbag_of-mine', ...more }

    const { url, headers, body } = signedInvocation(env, { ünï: 'code', path: '/v1/deliver' }, now)

    const { authorization, ...others } = headers
    assert.equal(authorization, await authorizationOf(url, others, body, now))
    assert.match(authorization ?? '', /SignedHeaders=host;x-amz-date;x-amz-invocation-type;x-amz-security-token,/)
    assert.deepEqual(JSON.parse(body), { ünï: 'code', path: '/v1/deliver' })
    assert.equal(headers['x-amz-invocation-type'], 'Event')
  })
}

test('where it goes', () => {
  const env = { ...credentials, AWS_REGION: region, AWS_LAMBDA_FUNCTION_NAME: 'postbag' }

  const urls = ['$LATEST', '3'].map(
    (AWS_LAMBDA_FUNCTION_VERSION) => signedInvocation({ ...env, AWS_LAMBDA_FUNCTION_VERSION }, {}, now).url,
  )

  const path = 'https://lambda.eu-central-1.amazonaws.com/2015-03-31/functions/postbag/invocations'
  assert.deepEqual(urls, [path, `${path}?Qualifier=3`])
})
