/* A server to import into, emptied before each test, and files to import. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach } from 'node:test'
import { createClient } from '../../../src/client/index.ts'
import { createPlace, postbag } from '../command.ts'

/** What RabbitMQ exported. */
export const exported = new URL('definitions.json', import.meta.url).pathname

/** What everything() is where there is nothing. */
export const nothing = '[null, null, null, null]'

interface Exported {
  readonly queues: object[]
}

export async function createWorld() {
  const { database, url, env } = await createPlace()
  const folder = await mkdtemp(join(tmpdir(), 'postbag-import-'))

  /** All that is there: settings, exchanges, bindings, policies. */
  async function everything(): Promise<string> {
    const { rows } = await database.pool.query(`
      select jsonb_build_array(
        (select jsonb_agg(to_jsonb(known) order by queue_id) from postbag.queue as known),
        (select jsonb_agg(to_jsonb(known) order by exchange_id) from postbag.exchange as known),
        (select jsonb_agg(to_jsonb(known) order by binding_id) from postbag.binding as known),
        (select jsonb_agg(to_jsonb(known) order by name) from postbag.policy as known)
      )::text as text`)
    return rows[0].text
  }

  /** A file with this in it. */
  async function fileOf(content: object | string): Promise<string> {
    const path = join(folder, `${crypto.randomUUID()}.json`)
    await writeFile(path, typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content))
    return path
  }

  beforeEach(async () => {
    await database.pool.query(`
      select postbag.delete_policy(name) from postbag.policy;
      select postbag.delete_queue(name) from postbag.queue;
      select postbag.delete_exchange(name) from postbag.exchange`)
    assert.equal(await everything(), nothing)
  })
  after(() => rm(folder, { recursive: true }))

  return {
    env,
    folder,
    client: createClient({ url }),
    everything,
    fileOf,
    run: (...args: readonly string[]) => postbag(['import', 'rabbitmq', ...args], { env }),
    /** What RabbitMQ exported, and a stream. */
    async withStream(): Promise<string> {
      const definitions: Exported = JSON.parse(await readFile(exported, 'utf8'))
      definitions.queues.push({ name: 'log', vhost: '/', type: 'stream', arguments: { 'x-queue-type': 'stream' } })
      return fileOf(definitions)
    },
  }
}
