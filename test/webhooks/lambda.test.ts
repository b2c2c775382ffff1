/* Webhooks of a Lambda function: by a schedule, and by invocations that it asks for itself. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { signToken } from '../../src/http/token.ts'
import { type LambdaOptions, startLambda } from '../runtimes/lambda.ts'
import { until } from '../support/until.ts'
import { createWebhookWorld, maintainInstead, type WorldOptions } from './webhook-world.ts'

const entry = fileURLToPath(new URL('../../functions/lambda.ts', import.meta.url))
const secret = 'a secret of thirty-two characters'
const authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`

async function newWorld(t: TestContext, { env, ...options }: Partial<LambdaOptions>, worldOptions?: WorldOptions) {
  const world = await createWebhookWorld(worldOptions)
  const log: string[] = []
  const lambda = await startLambda(entry, {
    env: { DATABASE_URL: world.url, POSTBAG_SECRET: secret, ...world.env, ...env },
    onLog: (line) => log.push(line),
    ...options,
  })
  t.after(() => Promise.all([lambda.stop(), world.receiver.stop()]))
  const publish = (...bodies: unknown[]) =>
    fetch(`${lambda.url}/v1/exchanges/events/publish`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ messages: bodies.map((body) => ({ body })) }),
    })
  return { ...world, lambda, log, publish, deliverLines: () => log.filter((line) => line.includes('"/v1/deliver"')) }
}

const event = { version: '0', source: 'aws.events', 'detail-type': 'Scheduled Event', detail: {} }

test('a schedule delivers what was published in SQL, and waits for retries that are due soon', async (t) => {
  const world = await newWorld(t, { handler: 'scheduled' }, { statuses: [500], config: { retries: ['1 s'] } })
  await world.publishInSql()

  await world.lambda.invoke(event)

  assert.deepEqual(world.bodies(), [1, 1])
  assert.deepEqual(
    (await world.attempts()).map(({ number, status }) => [number, status]),
    [
      [2, 200],
      [1, 500],
    ],
  )
})

test('a schedule that has more to clear away than it has time for delivers all the same', async (t) => {
  const world = await newWorld(t, { timeoutMillis: 6000, handler: 'scheduled' })
  await maintainInstead(world.pool, 'more := true')
  await world.publishInSql()

  await world.lambda.invoke(event)

  assert.deepEqual(world.bodies(), [1])
})

test('a schedule that cannot clear away delivers all the same, and fails after that', async (t) => {
  const world = await newWorld(t, { handler: 'scheduled' })
  await maintainInstead(world.pool, `raise 'nothing is cleared away today'`)
  await world.publishInSql()

  await assert.rejects(world.lambda.invoke(event), /nothing is cleared away today/)

  assert.deepEqual(world.bodies(), [1])
  await until('the log', async () => world.log.find((line) => line.includes('SQLSTATE P0001')))
})

for (const handler of ['handler', 'streamHandler']) {
  test(`a publish has another invocation deliver at once, behind the ${handler}`, async (t) => {
    const world = await newWorld(t, { handler, env: { POSTBAG_INVOKES_ITSELF: 'true' } })

    assert.equal((await world.publish('a', 'b')).status, 201)
    await world.noted(2)

    assert.deepEqual(world.bodies().sort(), ['a', 'b'])
    assert.equal((await until('the log', async () => world.deliverLines()[0] && world.deliverLines())).length, 1)
  })
}

test('when the time of an invocation is over and there is more, it asks for another', async (t) => {
  const options = { timeoutMillis: 4000, env: { POSTBAG_INVOKES_ITSELF: 'true' } }
  const world = await newWorld(t, options, { millis: 400, config: { concurrency: 1 } })

  assert.equal((await world.publish(1, 2, 3, 4, 5, 6, 7, 8)).status, 201)
  await world.noted(8)

  assert.deepEqual(world.bodies().map(Number).sort(), [1, 2, 3, 4, 5, 6, 7, 8])
  await until('the log', async () => (world.deliverLines().length > 1 ? true : undefined))
})

test('an attempt is over before the function is: it has failed, and is noted', async (t) => {
  const options = { timeoutMillis: 4000, handler: 'scheduled' }
  const world = await newWorld(t, options, { millis: 10_000, config: { timeout: '60 s' } })
  await world.publishInSql()

  await world.lambda.invoke(event)

  assert.deepEqual(
    (await world.attempts()).map(({ error }) => error),
    ['timeout'],
  )
})

test('an invocation that AWS refuses is said in the log, and the publish is answered', async (t) => {
  const env = { POSTBAG_INVOKES_ITSELF: 'true', AWS_SECRET_ACCESS_KEY: 'another' }
  const world = await newWorld(t, { env })

  assert.equal((await world.publish(1)).status, 201)

  await until('the log', async () =>
    world.log.find((line) => line.includes('could not invoke itself: AWS answered 403')),
  )
})

test('without being told to, it asks for nothing', async (t) => {
  const world = await newWorld(t, {})

  assert.equal((await world.publish(1)).status, 201)
  assert.equal((await fetch(`${world.lambda.url}/healthz`)).status, 200)

  assert.deepEqual([world.deliverLines(), world.receiver.got], [[], []])
})
