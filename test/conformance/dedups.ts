/* What counts as a duplicate: by id or by content, in the whole queue or in a group. (The basics: sends.ts.) */
import assert from 'node:assert/strict'
import type { Case } from './target.ts'
import { newQueue } from './test-queue.ts'

export const dedupCases: readonly Case[] = [
  {
    claim: 'by content, a message with the same body is a duplicate, whatever else is said of it',
    async run(target) {
      const queue = await newQueue(target, { dedupBy: 'content' })
      const [first] = await queue.send({ body: { id: 1 }, type: 'a' })

      const sent = await queue.send({
        messages: [{ body: { id: 1 }, type: 'b' }, { body: { id: 2 } }, { body: { id: 2 } }],
      })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [true, false, true],
      )
      assert.equal(sent[0]?.id, first?.id)
      assert.equal((await queue.peek()).messages.length, 2)
    },
  },
  {
    claim: 'by content, the same characters in another encoding are another content',
    async run(target) {
      const queue = await newQueue(target, { dedupBy: 'content' })

      const sent = await queue.send({
        messages: [
          { body: 'AAEC' },
          { body: 'AAEC', encoding: 'text' },
          { body: 'AAEC', encoding: 'base64' },
          { body: 5 },
          { body: '5' },
          { body: null },
          { body: '' },
          { body: 'AAEC', encoding: 'base64' },
        ],
      })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [false, false, false, false, false, false, false, true],
      )
    },
  },
  {
    claim: 'by content, a dedupId that is given does not count: clients may give one to every message',
    async run(target) {
      const queue = await newQueue(target, { dedupBy: 'content' })

      const sent = await queue.send({
        messages: [
          { body: 1, dedupId: 'a' },
          { body: 1, dedupId: 'b' },
          { body: 2, dedupId: 'a' },
        ],
      })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [false, true, false],
      )
    },
  },
  {
    claim: 'in the scope of a group, an id counts in each group, and once among messages without one',
    async run(target) {
      const queue = await newQueue(target, { dedupScope: 'group' })

      const sent = await queue.send({
        messages: [
          { body: 1, group: 'a', dedupId: 'd' },
          { body: 2, group: 'b', dedupId: 'd' },
          { body: 3, dedupId: 'd' },
          { body: 4, group: 'a', dedupId: 'd' },
          { body: 5, dedupId: 'd' },
        ],
      })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [false, false, false, true, true],
      )
      assert.deepEqual([sent[3]?.id, sent[4]?.id], [sent[0]?.id, sent[2]?.id])
    },
  },
  {
    claim: 'in the scope of the queue, an id counts whatever the group',
    async run(target) {
      const queue = await newQueue(target)

      const sent = await queue.send({
        messages: [
          { body: 1, group: 'a', dedupId: 'd' },
          { body: 2, group: 'b', dedupId: 'd' },
          { body: 3, dedupId: 'd' },
        ],
      })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [false, true, true],
      )
    },
  },
]
