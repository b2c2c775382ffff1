/* The banner of postbag dev: its commands reach the server wherever it listens, and no password is shown. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { banner } from '../../src/cli/banner.ts'
import { placeOf } from '../../src/cli/database.ts'
import type { ServerConfig } from '../../src/config.ts'

const config: ServerConfig = {
  access: { kind: 'open' },
  host: '127.0.0.1',
  port: 8787,
  databaseUrl: undefined,
  directUrl: undefined,
  dataFolder: '.postbag',
  maxConnections: 10,
}

const commands = (text: string) => text.match(/(?<=^ {2})(npx|curl) .*$/gm) ?? []

describe('the three commands', () => {
  test('are short where the command line finds the server by itself', () => {
    assert.deepEqual(commands(banner(config, 'http://127.0.0.1:8787')), [
      'npx postbag queue create hello',
      'curl http://127.0.0.1:8787/v1/queues/hello/messages -d "Hello World"',
      'npx postbag receive hello --wait 20 --ack',
    ])
  })

  for (const [host, url, reached] of [
    ['127.0.0.1', 'http://127.0.0.1:9000', 'http://127.0.0.1:9000'],
    ['::1', 'http://[::1]:8787', 'http://[::1]:8787'],
    ['0.0.0.0', 'http://0.0.0.0:9000', 'http://127.0.0.1:9000'],
    ['::', 'http://[::]:9000', 'http://127.0.0.1:9000'],
    ['192.0.2.1', 'http://192.0.2.1:8787', 'http://192.0.2.1:8787'],
  ] as const) {
    test(`name the address where it is another: ${url}`, () => {
      const [create, send, receive] = commands(banner({ ...config, host }, url))

      assert.ok(create?.endsWith(` --url ${reached}`))
      assert.ok(send?.startsWith(`curl ${reached}/v1/`))
      assert.ok(receive?.endsWith(` --url ${reached}`))
    })
  }
})

describe('a database is shown', () => {
  for (const [url, place] of [
    ['postgres://user:secret@db.example.com:5433/shop?sslmode=require', 'db.example.com:5433/shop'],
    ['postgresql://user:secret@localhost/shop', 'localhost/shop'],
    ['host=localhost password=secret', 'the database of DATABASE_URL'],
  ] as const) {
    test(`as ${place}`, () => {
      assert.equal(placeOf(url), place)
      assert.ok(!banner({ ...config, databaseUrl: url }, 'http://127.0.0.1:8787').includes('secret'))
    })
  }
})
