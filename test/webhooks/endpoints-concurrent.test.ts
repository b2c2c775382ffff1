/* Endpoints beside others: what is told to one that is just being deleted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Executor } from '../../src/db/call.ts'
import { deleteEndpoint, rotateSecret, switchEndpoint } from '../../src/webhooks/endpoints.ts'
import { createSecretBox } from '../../src/webhooks/secrets.ts'
import { createDatabase } from '../support/database.ts'
import { newEndpoint } from '../support/sql-endpoints.ts'
import { backendOf, call, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const keys = `${'A'.repeat(43)}=`
const webhooks = { box: createSecretBox(keys), policy: { allowPrivate: false, allowHttp: false } }

const verbs: Readonly<Record<string, (executor: Executor, endpoint: string) => Promise<unknown>>> = {
  enable: (executor, endpoint) => switchEndpoint(executor, endpoint, 'enable'),
  disable: (executor, endpoint) => switchEndpoint(executor, endpoint, 'disable'),
  pause: (executor, endpoint) => switchEndpoint(executor, endpoint, 'pause'),
  resume: (executor, endpoint) => switchEndpoint(executor, endpoint, 'resume'),
  delete: deleteEndpoint,
  rotate: (executor, endpoint) => rotateSecret(executor, endpoint, {}, webhooks),
}

for (const [verb, tell] of Object.entries(verbs)) {
  test(`${verb} of an endpoint that is just being deleted says that it is not there`, async () => {
    const { endpoint } = await newEndpoint(db.pool)
    if (verb === 'resume') await switchEndpoint(db.pool, endpoint, 'pause')
    const [deleting, telling] = [await db.connect(), await db.connect()]

    await deleting.query('begin')
    await call(deleting, 'delete_endpoint', { endpoint })
    const backend = await backendOf(telling)
    const refused = assert.rejects(tell(telling, endpoint), {
      code: 'endpoint_not_found',
      message: `endpoint "${endpoint}" does not exist`,
    })
    await waitsForLock(db.pool, backend)
    await deleting.query('commit')
    await refused
  })
}
