/* How a Lambda function has itself invoked once more, without waiting for what comes of it: by AWS's API, as the SDK does it, which would
 * weigh more than all of Postbag. The role of the function must allow lambda:InvokeFunction on itself. What signs the request is in the
 * environment.
 *
 * (To call its own URL instead would mean to wait for the answer, and be paid for twice; a request that is cut once it was sent may be
 * cut there, too.)
 *
 * The signature is AWS's version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
import { createHash, createHmac } from 'node:crypto'
import type { Environment } from '../../config.ts'

export interface SignedRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const longestMillis = 3000

/** Resolves when AWS has taken it. @throws Error with what AWS answered */
export async function invokeSelf(env: Environment, event: object): Promise<void> {
  const { url, headers, body } = signedInvocation(env, event, new Date())
  const response = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(longestMillis) })
  if (response.status === 202) return
  const answer = (await response.text()).slice(0, 300)
  throw new Error(`this function could not invoke itself: AWS answered ${response.status} ${answer}`)
}

/** The same version of the function, asynchronously. */
export function signedInvocation(env: Environment, event: object, now: Date): SignedRequest {
  const { AWS_LAMBDA_FUNCTION_NAME: name = '', AWS_LAMBDA_FUNCTION_VERSION: version = '$LATEST' } = env
  const { AWS_REGION: region = '', AWS_ACCESS_KEY_ID: keyId, AWS_SESSION_TOKEN: token } = env
  const base = env['AWS_ENDPOINT_URL_LAMBDA'] ?? `https://lambda.${region}.amazonaws.com`
  const url = new URL(`/2015-03-31/functions/${name}/invocations`, base)
  if (version !== '$LATEST') url.searchParams.set('Qualifier', version)
  const body = JSON.stringify(event)
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${region}/lambda/aws4_request`

  // In the order of their names, as they are signed.
  const headers = {
    host: url.host,
    'x-amz-date': time,
    'x-amz-invocation-type': 'Event',
    ...(token && { 'x-amz-security-token': token }),
  }
  const names = Object.keys(headers).join(';')
  const lines = Object.entries(headers).map(([header, value]) => `${header}:${value}\n`)
  const request = ['POST', url.pathname, url.search.slice(1), lines.join(''), names, sha256(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(request)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${env['AWS_SECRET_ACCESS_KEY']}`)
  const signature = hmac(key, toSign).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  return { url: url.href, headers: { ...headers, authorization }, body }
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
