/* What the environment says, and what is said when it cannot be meant. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openLocal } from '../functions/local.ts'
import { functionConfig, refuseUnreadable, serverConfig, supabaseConfig, tokenAccess } from '../src/config.ts'

describe('the address of a database', () => {
  for (const [what, url] of [
    ['a # where the rest is no port', 'postgres://me:s3#cret@db.example/app'],
    ['a # where the rest is a port', 'postgres://me:33#cret@db.example/app'],
    ['a / where the rest is no port', 'postgres://me:s3/cret@db.example/app'],
    ['a / where the rest is a port', 'postgres://me:33/cret@db.example/app'],
    ['a / behind an @', 'postgres://me:s3@cr/et@db.example/app'],
    ['a ?', 'postgres://me:33?cret@db.example/app'],
    ['a % that begins no escape', 'postgres://me:s3%cret@db.example/app'],
    ['an escape that is no UTF-8', 'postgres://me:cret%ff@db.example/app'],
  ] as const) {
    test(`whose password has ${what} is refused, by name, with what to write, and without the password`, () => {
      for (const name of ['DATABASE_URL', 'DATABASE_DIRECT_URL']) {
        assert.throws(() => serverConfig({ [name]: url }), {
          message: new RegExp(`^${name} cannot be read: .*# as %23, / as %2F`),
        })
      }
      assert.throws(
        () => functionConfig({ DATABASE_URL: url }),
        ({ message, cause }) => !/cret/.test(message) && cause === undefined,
      )
    })
  }

  test('is refused for the same where a program gives it', () => {
    assert.throws(() => openLocal({ databaseUrl: 'postgres://me:s3#cret@db.example/app' }), {
      message: /^databaseUrl cannot be read: /,
    })
    assert.throws(() => openLocal({ databaseUrl: '', directUrl: 'postgres://me:s3#cret@db.example/app' }), {
      message: /^directUrl cannot be read: /,
    })
  })

  for (const url of [
    'postgres://me:s3%23%2f%3F%40%25cret@db.example:5432/app?sslmode=require',
    'postgresql://me:p@ss[w]ord|^"\\ @db.example/app',
    'postgres://me@[::1]:5432/app',
    'postgres://me:secret@/app?host=/var/run/postgresql',
    'postgres://me:secret@%2Fvar%2Frun%2Fpostgresql/app',
    'postgres:///app?user=me@tenant&options=-c%20search_path%3Dx',
    'postgres://db.example/app?application_name=a/b@c',
    'postgres://me:secret@db.example/app\n',
  ]) {
    test(`may be ${JSON.stringify(url)}`, () => {
      assert.equal(serverConfig({ DATABASE_URL: url }).databaseUrl, url)
    })
  }

  test('that is not one of postgres:// is the business of who gave it', () => {
    refuseUnreadable('databaseUrl', '/var/run/postgresql app')
  })
})

describe('where a server listens', () => {
  test('may be an address of IPv6 with or without brackets', () => {
    assert.deepEqual(
      ['::1', '[::1]'].map((HOST) => serverConfig({ HOST }).host),
      ['::1', '::1'],
    )
    assert.throws(() => serverConfig({ HOST: '[::]' }), { message: /^HOST is ::, which others can reach/ })
  })

  test('is what it is without a setting where that is empty', () => {
    const { host, port, maxConnections } = serverConfig({ HOST: '', PORT: '', POSTBAG_MAX_CONNECTIONS: '' })

    assert.deepEqual([host, port, maxConnections], ['127.0.0.1', 8787, 10])
  })

  for (const [PORT, got] of [
    [' ', 'blanks'],
    ['\t', 'blanks'],
    ...['0x50', '1e3', '80.0', '-1', '65536', 'http'].map((port) => [port, port] as const),
  ] as const) {
    test(`is no port ${JSON.stringify(PORT)}`, () => {
      assert.throws(() => serverConfig({ PORT }), {
        message: `PORT must be a whole number between 0 and 65535, got ${got}`,
      })
    })
  }

  test('may have a line end behind it, as from a file', () => {
    assert.equal(serverConfig({ PORT: '8080\r\n' }).port, 8080)
  })
})

test('a byte order mark, as some editors put before the text of a file, is named: nobody sees it', () => {
  const message = (name: string) => ({ message: `${name} begins with a byte order mark (U+FEFF): remove it` })

  assert.throws(() => serverConfig({ DATABASE_URL: '\ufeffpostgres://db.example/app' }), message('DATABASE_URL'))
  assert.throws(() => tokenAccess(`\ufeff${'x'.repeat(32)}`), message('POSTBAG_SECRET'))
})

describe('on Supabase', () => {
  const POSTBAG_SECRET = 'a secret of thirty-two characters'
  const SUPABASE_DB_URL = 'postgres://postgres:p%40ss@db.abc.supabase.co:5432/postgres'
  const pooled = 'postgresql://postgres:p%40ss@db.abc.supabase.co:6543/postgres'
  const own = 'postgres://me@db.example/app'
  const addresses = (env: Record<string, string>) => {
    const { databaseUrl, directUrl } = supabaseConfig({ POSTBAG_SECRET, SUPABASE_DB_URL, ...env })
    return [databaseUrl, directUrl]
  }

  test('the project’s address is where it listens, also past the pooler beside it', () => {
    assert.deepEqual(addresses({}), [SUPABASE_DB_URL, SUPABASE_DB_URL])
    assert.deepEqual(addresses({ DATABASE_URL: '' }), [SUPABASE_DB_URL, SUPABASE_DB_URL])
    assert.deepEqual(addresses({ DATABASE_URL: pooled }), [pooled, SUPABASE_DB_URL])
  })

  test('another database is listened to where it is, or where the user says', () => {
    assert.deepEqual(addresses({ DATABASE_URL: own }), [own, undefined])
    const sibling = SUPABASE_DB_URL.replace(/postgres$/, 'app')
    assert.deepEqual(addresses({ DATABASE_URL: sibling, DATABASE_DIRECT_URL: own }), [sibling, own])
    assert.deepEqual(addresses({ DATABASE_DIRECT_URL: own }), [SUPABASE_DB_URL, own])
  })
})
