/* Endpoints of webhooks, as a server's configuration has them: without a key, and with private receivers. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type NodeServer, startServer } from '../../functions/node.ts'
import type { WebhookSettings } from '../../src/config.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const keys = `${'A'.repeat(43)}=`
const endpoint = { url: 'http://127.0.0.1:8080/hook', exchange: 'events' }
let database: TestDatabase
const servers: NodeServer[] = []

before(async () => {
  database = await createDatabase()
  await database.pool.query("select postbag.declare_exchange('events', type => 'topic')")
})

after(async () => {
  for (const server of servers) await server.stop()
})

async function start(webhooks?: WebhookSettings) {
  const options = { access: { kind: 'open' }, databaseUrl: database.url, host: '127.0.0.1', port: 0 } as const
  const server = await startServer({ ...options, webhooks, log: () => {} })
  servers.push(server)
  return async (method: string, path: string, body: object) => {
    const answer = await fetch(`${server.url}/v1/endpoints/${path}`, { method, body: JSON.stringify(body) })
    const { code, detail, ...info } = (await answer.json()) as { readonly code?: string; readonly detail?: string }
    return { status: answer.status, code, detail, info }
  }
}

test('without a key no endpoint is made and no secret rotated, and the answer says what to set', async () => {
  const call = await start()
  const made = await call('PUT', 'keyless', { ...endpoint, url: 'https://example.com' })
  const rotated = await call('POST', 'keyless/secret/rotate', {})

  for (const { status, code, detail } of [made, rotated]) {
    assert.deepEqual([status, code], [409, 'webhooks_not_configured'])
    assert.match(detail ?? '', /^endpoints need POSTBAG_WEBHOOK_KEY.*\(openssl rand -base64 32\)$/)
  }
})

test('receivers on this machine are refused unless the server allows them', async () => {
  const strict = await start({ keys, allowPrivate: false })
  const open = await start({ keys, allowPrivate: true })

  for (const [url, rule] of [
    ['https://127.0.0.1/', /^url must lead to a public address, got 127\.0\.0\.1$/],
    ['http://example.com/', /^url must begin with https:\/\/, got http:$/],
  ] as const) {
    const { code, detail } = await strict('PUT', 'private', { ...endpoint, url })
    assert.equal(code, 'request_invalid')
    assert.match(detail ?? '', rule)
  }
  const { status, info } = await open('PUT', 'private', endpoint)
  assert.deepEqual([status, (info as typeof endpoint).url], [201, endpoint.url])
  const metadata = await open('PUT', 'metadata', { ...endpoint, url: 'http://169.254.169.254/' })
  assert.match(metadata.detail ?? '', /^url must lead to a public address, got 169\.254\.169\.254$/)
})
