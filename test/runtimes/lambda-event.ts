/* The events that AWS makes of HTTP requests, payload format 2.0, after the samples of its manuals:
 * https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads and
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html */
import type { IncomingMessage } from 'node:http'

export type LambdaFront = 'function URL' | 'API Gateway'

const domains: Readonly<Record<LambdaFront, string>> = {
  'function URL': 'abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws',
  'API Gateway': 'a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com',
}

/** Bodies of other types come in base64. */
const textType = /^(text\/|application\/(json|xml|javascript)\b)/

export function eventOf(front: LambdaFront, request: IncomingMessage, body: Buffer): object {
  const { method = '', url = '', headers } = request
  const [, path = '', query = ''] = /^([^?]*)\??(.*)$/.exec(url) ?? []
  const { cookie, 'transfer-encoding': _, ...others } = headers
  const isBase64Encoded = body.length > 0 && !textType.test(headers['content-type'] ?? '')
  const domainName = domains[front]
  const parameters = [...new URLSearchParams(query)]
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    ...(cookie !== undefined && { cookies: cookie.split('; ') }),
    headers: {
      ...Object.fromEntries(Object.entries(others).map(([name, value]) => [name, String(value)])),
      host: domainName,
      'x-amzn-trace-id': 'Root=1-67891233-abcdef012345678912345678',
      'x-forwarded-for': '192.0.2.1',
      'x-forwarded-port': '443',
      'x-forwarded-proto': 'https',
    },
    ...(parameters.length > 0 && { queryStringParameters: commaSeparated(parameters) }),
    requestContext: {
      accountId: front === 'function URL' ? 'anonymous' : '123456789012',
      apiId: domainName.split('.')[0],
      ...(front === 'function URL' && { authentication: null }),
      domainName,
      domainPrefix: domainName.split('.')[0],
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: headers['user-agent'] ?? '' },
      requestId: 'JKJaXmPLvHcESHA=',
      routeKey: '$default',
      stage: '$default',
      time: '22/Nov/2026:19:03:58 +0000',
      timeEpoch: 1_795_374_238_000,
    },
    ...(body.length > 0 && { body: body.toString(isBase64Encoded ? 'base64' : 'utf8') }),
    isBase64Encoded,
  }
}

function commaSeparated(parameters: readonly (readonly [string, string])[]): object {
  const groups = Map.groupBy(parameters, ([name]) => name)
  return Object.fromEntries([...groups].map(([name, group]) => [name, group.map(([, value]) => value).join()]))
}
