/* An endpoint of webhooks that a case has to itself, with an exchange of its own; and what one does with it. */
import type {
  AttemptListResponse,
  DeliveryAttempt,
  EndpointConfig,
  EndpointInfo,
  EndpointStatistics,
  RedriveResponse,
  ResendResponse,
  TestEventResponse,
} from '../../src/wire.ts'
import { until } from '../support/until.ts'
import { type Call, call, json, type Target } from './target.ts'
import { newExchange } from './test-exchange.ts'
import { queueNamed } from './test-queue.ts'

let made = 0

/** @param status what its receiver answers */
export async function newEndpoint(target: Target, config: Partial<EndpointConfig> = {}, status = 200) {
  const exchange = await newExchange(target, { type: 'topic' })
  const name = `case-endpoint-${++made}`
  const endpoint = endpointNamed(target, name)
  const least = { url: `${target.receiver.url}/${name}/${status}`, exchange: exchange.name }
  const created = json<EndpointInfo>(await endpoint.put({ ...least, ...config }), 201)
  return { ...endpoint, exchange, least, created }
}

/** An endpoint that may or may not exist. */
export function endpointNamed(target: Target, name: string) {
  const path = `/v1/endpoints/${name}`
  const attempts = async (query = '') =>
    json<AttemptListResponse>(await call(target, 'GET', `${path}/attempts${query}`))
  return {
    name,
    path,
    queue: queueNamed(target, `webhooks.${name}`),
    attempts,
    put: (body: object) => call(target, 'PUT', path, { body }),
    /** The answer, whatever it is. */
    post: (verb: string, options: Call = {}) => call(target, 'POST', `${path}/${verb}`, options),
    /** What its receiver got. */
    got: () => target.receiver.got.filter((request) => request.path.startsWith(`/${name}/`)),
    async info(): Promise<EndpointInfo> {
      return json<EndpointInfo>(await call(target, 'GET', path))
    },
    async statistics(): Promise<EndpointStatistics> {
      return json<EndpointStatistics>(await call(target, 'GET', `${path}/statistics`))
    },
    async test(): Promise<TestEventResponse> {
      return json<TestEventResponse>(await this.post('test'), 201)
    },
    async resend(eventId: string): Promise<ResendResponse> {
      return json<ResendResponse>(await this.post('resend', { body: { eventId } }), 201)
    },
    async recover(request: object = {}): Promise<RedriveResponse> {
      return json<RedriveResponse>(await this.post('recover', { body: request }))
    },
    /** Its attempts, once there are so many. Has it deliver, beside whatever else delivers. */
    async attempted(count: number): Promise<readonly DeliveryAttempt[]> {
      json(await call(target, 'POST', '/v1/deliver', { body: {} }))
      return until(`${count} attempts at ${name}`, async () => {
        const { attempts: noted } = await attempts()
        return noted.length >= count ? noted : undefined
      })
    },
  }
}
