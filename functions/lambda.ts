/* Postbag as an AWS Lambda function, behind a function URL or an API Gateway HTTP API (payload format 2.0). The README says how to deploy it.
 * The platform's rules, and how they are kept:
 *
 *  1. An instance handles one request at a time, and is frozen in between. So its pool is one connection, kept for the next request, and
 *     proven before it is used after a rest (db/thaw.ts); and nothing listens.
 *  2. A request that takes longer than the function's timeout is cut off. So a wait ends a second before.
 *  3. A client that goes away is not reported. So what is leased for it comes back when its lease ends.
 *  4. An answer of more than 6 MB gets through as a stream only: `streamHandler`, for a function URL with RESPONSE_STREAM.
 *  5. Nothing goes on after an answer. So what is published is delivered by another invocation, which this one asks AWS for
 *     (POSTBAG_INVOKES_ITSELF), and by the schedule. */
import { Hono } from 'hono'
import { handle, type LambdaContext, streamHandle } from 'hono/aws-lambda'
import {
  createApp,
  type Delivering,
  delivererOf,
  errorForLog,
  hasMore,
  limitsWithin,
  maintainFirst,
  notConfigured,
  ownDeliverRequest,
} from '../src/app.ts'
import { functionConfig } from '../src/config.ts'
import { connect, preparing, thawing } from '../src/db/connect.ts'
import { bounded } from '../src/wakeup/bounded-hub.ts'
import { createPollHub } from '../src/wakeup/poll-hub.ts'
import { invokeSelf } from '../src/webhooks/node/lambda-invocation.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

/** For the last look and the answer. */
const reserveMillis = 1000
/** For how long one invocation begins deliveries: a schedule comes each minute. */
const deliverSeconds = 50
/** Of a scheduled invocation's time, for clearing away what is over. */
const maintainShare = 1 / 4

const logError = (error: unknown) => console.error(errorForLog(error))

/** Kept from request to request; made with the first. */
let instance: ReturnType<typeof start> | undefined

function start() {
  const config = functionConfig(process.env)
  const executor = preparing(
    thawing(connect(config.databaseUrl, { maxConnections: 1, idleMillis: 0, answerTimeoutMillis: 30_000 })),
  )
  const app = createApp(config, (line) => console.log(JSON.stringify(line)))
  // (A connection that is kept would be frozen, too.)
  const { attempt } = createTransport({ maxIdle: 0 })
  const deliverer = delivererOf(config.webhooks, { executor, attempt, onError: logError })
  return { app, config, executor, hub: createPollHub({ executor }), deliverer }
}

const millisLeft = (context: LambdaContext) => context.getRemainingTimeInMillis() - reserveMillis

async function answer(request: Request, context: LambdaContext): Promise<Response> {
  try {
    instance ??= start()
    const { app, executor, deliverer } = instance
    const hub = bounded(instance.hub, () => millisLeft(context))
    let isAsked = false
    const delivering: Delivering | undefined = deliverer && {
      begin() {
        isAsked = true
      },
      async run(seconds, waits) {
        const drained = await deliverer.drain({ ...limitsWithin(millisLeft(context), seconds * 1000), waits })
        isAsked ||= hasMore(drained)
        return drained
      },
    }
    const response = await app.fetch(request, { executor, hub, delivering })
    if (isAsked) await deliverElsewhere(instance)
    return response
  } catch (error) {
    logError(error)
    return notConfigured(error)
  }
}

/** What Hono's two adapters hand on: the one calls the context lambdaContext, the other context. */
type Handed = { readonly lambdaContext: LambdaContext; readonly context: LambdaContext }

const front = new Hono<{ Bindings: Handed }>().all('*', ({ req, env }) =>
  answer(req.raw, env.lambdaContext ?? env.context),
)

export const handler = handle(front)

/** Undefined anywhere but on Lambda, whose runtime brings what it is made with. */
export const streamHandler: object | undefined = 'awslambda' in globalThis ? streamHandle(front) : undefined

/** For an EventBridge schedule: clear away what is over in queues that nobody uses, and deliver what is due. */
export async function scheduled(_event: unknown, context: LambdaContext): Promise<void> {
  instance ??= start()
  const made = instance
  const deliver = async () => {
    const limits = { ...limitsWithin(millisLeft(context), deliverSeconds * 1000), waits: true }
    const drained = await made.deliverer?.drain(limits)
    if (drained && hasMore(drained)) await deliverElsewhere(made)
  }
  await maintainFirst(made.executor, millisLeft(context) * maintainShare, deliver, logError)
}

/** The event is a request of a function URL, as far as the handlers read it. */
async function deliverElsewhere({ config }: ReturnType<typeof start>): Promise<void> {
  if (!config.invokesItself) return
  const { method, path, headers, body } = await ownDeliverRequest(config.access, deliverSeconds)
  const requestContext = { domainName: 'localhost', http: { method, path } }
  const event = {
    version: '2.0',
    rawPath: path,
    rawQueryString: '',
    headers,
    requestContext,
    body,
    isBase64Encoded: false,
  }
  await invokeSelf(process.env, event).catch(console.error)
}
