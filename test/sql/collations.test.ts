/* Names, keys and texts may come from columns with a collation of their own, as in a user's trigger: what they are compared with has another. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { newExchange } from '../support/sql-exchanges.ts'
import { newQueue } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()
await pool.query(`create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)

for (const collation of ['en-x-icu', 'C', 'POSIX', 'any_case']) {
  test(`every verb takes texts of the collation ${collation}`, async () => {
    const queue = await newQueue(pool)
    const doomed = await newQueue(pool)
    const exchanges = await Promise.all(
      ['direct', 'topic', 'fanout', 'headers', 'hash'].map((type) => newExchange(pool, type)),
    )
    const of = (...columns: string[]) => columns.map((column) => `${column} text collate "${collation}"`).join()
    const table = `given_${collation.replaceAll('-', '_').toLowerCase()}`
    await pool.query(
      `create table ${table} (${of('queue', 'doomed', 'made', 'word', 'number', 'asking', 'asked', 'reply_to', 'awaited')})`,
    )
    const asking = await newQueue(pool)
    await pool.query(
      `insert into ${table}
       select $1, $2, $1 || '-made', 'word-' || $1, '1', $3, made.id, '~' || known.queue_id || '.' || made.id,
         postbag.awaited_reply($3, split_part(made.id, '.', 1)::bigint)
       from postbag.request($3, '1') as made, postbag.queue as known where known.name = $3`,
      [queue, doomed, asking],
    )
    const say = async (call: string) => {
      const { rows } = await pool.query(`select said.* from ${table} as given, lateral ${call} as said`)
      return rows
    }

    const refused: string[] = []
    for (const call of [
      `postbag.create_queue(given.made, dead_letter_queue => given.queue)`,
      `postbag.describe_queue(given.made)`,
      `postbag.list_queues(given.queue)`,
      `postbag.send(given.queue, '1', type => given.word, dedup_id => given.word, group_key => given.word)`,
      `postbag.send_batch(given.queue, '[{"body": 1}, {"body": 2}]')`,
      `postbag.peek(given.queue)`,
      `postbag.search(given.queue, of_type => given.word, of_group => given.word, body_contains => given.word)`,
      `postbag.search(given.queue, after => given.number)`,
      `postbag.next_available_at(given.queue)`,
      `postbag.queue_stats(given.queue)`,
      `postbag.redrive(given.queue, error_contains => given.word, after => '1.' || given.number || '.1')`,
      `postbag.fetch_reply(given.asking, given.asked)`,
      `postbag.next_available_at(given.awaited)`,
      `postbag.reply(given.asking, given.reply_to, '1', type => given.word)`,
      `postbag.request(given.doomed, '1', type => given.word, correlation_id => given.word)`,
      `postbag.pause(given.queue)`,
      `postbag.resume(given.queue)`,
      `postbag.maintain(given.queue)`,
      `postbag.set_policy(given.word, given.made, '{"ttl": "1 h"}')`,
      `postbag.describe_policy(given.word)`,
      `postbag.delete_policy(given.word)`,
      `postbag.inbox(given.queue, given.word)`,
      `postbag.declare_exchange(given.word, type => 'topic', alternate => given.made)`,
      `postbag.bind(given.word, queue => given.queue, routing_key => given.word)`,
      `postbag.list_bindings(given.word, given.queue, after => given.number)`,
      `postbag.explain_route(given.word, given.word)`,
      `postbag.list_exchanges(given.word)`,
      `postbag.unbind(given.word, queue => given.queue, routing_key => given.word)`,
      `postbag.delete_exchange(given.word)`,
      `postbag.delete_queue(given.doomed)`,
    ]) {
      await say(call).catch((error) => refused.push(`${call}: ${error}`))
    }
    // These find nothing, and say so.
    for (const call of [
      `postbag.get_message(given.queue, given.number)`,
      `postbag.describe_endpoint(given.word)`,
      `postbag.test_endpoint(given.word)`,
      `postbag.list_attempts(given.word, of_id => given.number)`,
      `postbag.endpoint_stats(given.word)`,
      `postbag.resend(given.word, 'evt_' || given.number)`,
      `postbag.rotate_secret(given.word, given.word)`,
      `postbag.enable_endpoint(given.word)`,
      `postbag.disable_endpoint(given.word)`,
      `postbag.delete_endpoint(given.word)`,
    ]) {
      await say(call).catch((error) => error.code.startsWith('PB') || refused.push(`${call}: ${error}`))
    }
    assert.deepEqual(refused, [])

    const received = await say(`postbag.receive(given.queue, 3)`)
    assert.equal(received.length, 3)
    const receipt = (place: number) => `'${JSON.stringify([received[place].receipt])}'::jsonb`
    for (const [place, verb] of ['extend', 'ack', 'nack'].entries()) {
      const [settled] = await say(`postbag.${verb}(given.queue, ${receipt(place)})`)
      assert.equal(settled.outcome, 'ok', verb)
    }
    for (const exchange of exchanges) {
      await pool.query(
        `select postbag.bind($1, queue => given.queue, routing_key => given.word) from ${table} as given`,
        [exchange],
      )
      const { rows } = await pool.query(
        `select postbag.publish(exchange.name, '1', routing_key => given.word) as reached
         from ${table} as given, (select $1::text collate "${collation}" as name) as exchange`,
        [exchange],
      )
      assert.equal(rows[0].reached, 1, exchange)
    }
    const strays = `strays-of-${queue}`
    await pool.query(`select postbag.declare_exchange($1, type => 'direct', alternate => 'default')`, [strays])
    const { rows: led } = await pool.query(
      `select postbag.publish('${strays}' collate "${collation}", '1', routing_key => given.queue) as reached from ${table} as given`,
    )
    assert.equal(led[0].reached, 1)
    await say('postbag.purge(given.queue)')
    await say(`postbag.send(given.queue, '1', type => given.word, group_key => given.word)`)
    const [dead] = await say('postbag.receive(given.queue)')
    await pool.query('select postbag.nack($1, $2, dead_letter => true)', [queue, JSON.stringify([dead.receipt])])
    const [redriven] = await say(
      `postbag.redrive(given.queue, target => given.made, type => given.word, group_key => given.word, error_contains => null)`,
    )
    assert.equal(redriven.redriven, '1')
    assert.equal((await say('postbag.purge(given.made)')).length, 1)
  })
}
