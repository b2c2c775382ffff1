/* The repository keeps the rules of support/house.ts, and each rule is shown to catch what it is for. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { commentFaults, functionFaults, importFaults, importsOf } from './support/house.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

function faultsIn(pattern: string, check: (path: string, text: string) => string[]): string[] {
  const files = globSync(pattern, { cwd: root, exclude: ['**/node_modules'] }).map((file) => file.replaceAll('\\', '/'))
  assert.notEqual(files.length, 0, `${pattern} matches no file`)
  return files.flatMap((file) => check(file, readFileSync(`${root}/${file}`, 'utf8')))
}

describe('the repository', () => {
  test('imports only what each folder may', () => {
    assert.deepEqual(faultsIn('{src,functions,test}/**/*.ts', importFaults), [])
  })

  test('opens every source file with a comment', () => {
    assert.deepEqual(faultsIn('{src,functions,test,examples,bin}/**/*.{ts,js}', commentFaults), [])
    assert.deepEqual(faultsIn('migrations/fixtures/**/*.sql', commentFaults), [])
  })

  test('has one SQL function per file, named like the file', () => {
    assert.deepEqual(faultsIn('migrations/fixtures/functions/*.sql', functionFaults), [])
  })
})

describe('the import rule', () => {
  const allowed: [path: string, text: string][] = [
    ['src/limits.ts', "import { QueueError } from './errors.ts'"],
    ['src/queue/send.ts', "import { call } from '../db/call.ts'\nimport { message } from './message.ts'"],
    ['src/outbox/knex.ts', "import { through } from '../db/through.ts'"],
    ['src/exchange/publish.ts', "import { parcelsToSql } from '../queue/message.ts'"],
    ['src/http/routes/messages.ts', "import { Hono } from 'hono'\nimport { send } from '../../queue/send.ts'"],
    ['src/client/index.ts', "export * from '../wire.ts'"],
    ['src/db/install.ts', "import { readFile } from 'node:fs/promises'"],
    ['functions/node.ts', "import { serve } from '@hono/node-server'\nimport { createApp } from '../src/app.ts'"],
    ['functions/deno.ts', "import { createTransport } from '../src/webhooks/node/transport.ts'"],
    ['src/webhooks/signing/sign.ts', "import { toBase64 } from '../../wire.ts'"],
    ['functions/cloudflare.ts', "import { workerDelivering } from '../src/webhooks/worker.ts'"],
    ['src/webhooks/node/exchange.ts', "import { request } from 'node:https'\nimport { headOf } from '../answer.ts'"],
    ['test/queue/send.test.ts', "import { anything } from '../../src/db/call.ts'"],
  ]
  const refused: [path: string, text: string][] = [
    ['src/limits.ts', "import { z } from 'zod'"],
    ['src/limits.ts', "import { call } from './db/call.ts'"],
    ['src/db/call.ts', "import { send } from '../queue/send.ts'"],
    ['src/db/call.ts', "import { readFile } from 'node:fs/promises'"],
    ['src/queue/send.ts', "import { publish } from '../exchange/publish.ts'"],
    ['src/queue/send.ts', "import { Hono } from 'hono'"],
    ['src/exchange/publish.ts', "import { routes } from '../http/routes.ts'"],
    ['src/exchange/publish.ts', "import { hub } from '../wakeup/hub.ts'"],
    ['src/webhooks/deliver.ts', "import { routes } from '../sqs/routes.ts'"],
    ['src/webhooks/deliver.ts', "import { createTransport } from './node/transport.ts'"],
    ['src/webhooks/deliver.ts', "import { request } from 'node:https'"],
    ['src/webhooks/signing/sign.ts', "import { QueueError } from '../../errors.ts'"],
    ['src/webhooks/signing/sign.ts', "import { newSecret } from '../secrets.ts'"],
    ['src/webhooks/node/exchange.ts', "import { call } from '../../db/call.ts'"],
    ['src/http/routes.ts', "import { createTransport } from '../webhooks/node/transport.ts'"],
    ['functions/cloudflare.ts', "import { createTransport } from '../src/webhooks/node/transport.ts'"],
    ['functions/node.ts', "import { checkUrl } from '../src/webhooks/check-url.ts'"],
    ['src/outbox/knex.ts', "import type { Knex } from 'knex'"],
    ['src/outbox/knex.ts', "import { send } from '../queue/send.ts'"],
    ['src/http/routes.ts', "import { action } from '../sqs/action.ts'"],
    ['src/http/routes.ts', "import { main } from '../cli/main.ts'"],
    ['src/http/routes.ts', "import type { Pool } from 'pg'"],
    ['src/http/routes.ts', "const fs = await import('node:fs')"],
    ['src/client/index.ts', "import { send } from '../queue/send.ts'"],
    ['src/client/index.ts', "import pg from 'pg'"],
    ['src/client/index.ts', "import '@hono/zod-openapi'"],
    ['functions/cloudflare.ts', "import { Buffer } from 'node:buffer'"],
    ['functions/deno.ts', "import process from 'node:process'"],
    ['src/process.ts', "import { serve } from '@hono/node-server'"],
    ['src/process.ts', "import { startServer } from '../functions/node.ts'"],
    ['functions/node.ts', "import { send } from '../src/queue/send.ts'"],
    ['functions/node.ts', "import worker from './cloudflare.ts'"],
    ['functions/node.ts', "import { install } from '../src/db/install.ts'"],
    ['src/services/queue.ts', ''],
    ['src/helpers.ts', ''],
  ]

  for (const [path, text] of allowed) {
    test(`allows in ${path}: ${text.split('\n').join('; ')}`, () => assert.deepEqual(importFaults(path, text), []))
  }
  for (const [path, text] of refused) {
    test(`refuses in ${path}: ${text || '(the file itself)'}`, () => assert.equal(importFaults(path, text).length, 1))
  }

  test('sees every form of import, and none in comments', () => {
    const text = [
      "import a, { type B } from 'a'",
      'import {\n  c,\n} from "c"',
      "import type { D } from 'd'",
      "export * from 'e'",
      "export { f } from 'f'",
      "// import g from 'g'",
      "/* import h from 'h' */",
      "import 'i'",
      "const j = await import('j')",
      "const text = 'https://example.com' // import k from 'k'",
    ].join('\n')

    assert.deepEqual(importsOf(text).sort(), ['a', 'c', 'd', 'e', 'f', 'i', 'j'])
  })
})

describe('the comment rule', () => {
  test('wants a comment before anything else but a shebang', () => {
    assert.deepEqual(commentFaults('a.ts', '/* What for. */\nimport x'), [])
    assert.deepEqual(commentFaults('a.ts', '#!/usr/bin/env node\n// What for.\n'), [])
    assert.deepEqual(commentFaults('a.sql', '-- What for.\n'), [])
    assert.equal(commentFaults('a.ts', "import x from 'x'\n// too late").length, 1)
    assert.equal(commentFaults('a.sql', '--! Message: core').length, 1)
    assert.equal(commentFaults('a.ts', '').length, 1)
  })
})

describe('the SQL function rule', () => {
  const path = 'migrations/fixtures/functions/send.sql'

  test('wants the one function that the file is named after', () => {
    assert.deepEqual(functionFaults(path, 'create or replace function postbag.send(a int) …'), [])
    assert.equal(functionFaults(path, 'create function postbag.receive() …').length, 1)
    assert.equal(functionFaults(path, 'create function postbag.send() …\ncreate function postbag.more() …').length, 1)
    assert.equal(functionFaults(path, 'create function send() …').length, 1)
    assert.equal(functionFaults(path, '-- nothing').length, 1)
  })
})
