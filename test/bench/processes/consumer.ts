/* A process that consumes and nothing else: Postbag's SDK, over HTTP or with all of Postbag in it, graphile-worker or pg-boss, with an empty handler. Started by children.ts with
 * the kind and its settings as JSON. Says how many messages it has handled when it comes by a tenth of them and when it has all;
 * stops in order when told, and ends with its parent. */
import { type ClientOptions, createClient } from '../../../src/client/index.ts'

export type ConsumerKind =
  | { readonly kind: 'postbag'; readonly url: string; readonly concurrency: number }
  | { readonly kind: 'postbag-local'; readonly databaseUrl: string; readonly concurrency: number }
  | { readonly kind: 'graphile-worker'; readonly databaseUrl: string; readonly localQueue: number }
  | { readonly kind: 'bare'; readonly databaseUrl: string; readonly batch: number; readonly connections: number }
  | { readonly kind: 'pg-boss'; readonly databaseUrl: string; readonly batch: number; readonly workers: number }

const [settings = '', marksText = '[]'] = process.argv.slice(2)
const consumer = JSON.parse(settings) as ConsumerKind
const marks = new Set<number>(JSON.parse(marksText))
let count = 0

function handled(): void {
  if (marks.has(++count)) process.send?.(count)
}

function consumePostbag(options: ClientOptions, concurrency: number) {
  const stopping = new AbortController()
  const queue = createClient(options).queue('bench')
  const ended = queue.consume(
    { concurrency, signal: stopping.signal, onError: (error) => console.error(error) },
    handled,
  )
  return {
    async stop() {
      stopping.abort()
      await ended
    },
  }
}

/** (Each loads only its own library.) */
async function consume() {
  switch (consumer.kind) {
    case 'postbag':
      return consumePostbag(consumer, consumer.concurrency)
    case 'postbag-local': {
      const { openLocal } = await import('../../../functions/local.ts')
      const local = openLocal(consumer)
      const { stop } = consumePostbag(local, consumer.concurrency)
      return { stop: () => stop().then(local.stop) }
    }
    case 'graphile-worker': {
      const { consumeGraphile } = await import('../contenders/graphile-worker.ts')
      return consumeGraphile(consumer.databaseUrl, consumer, handled)
    }
    case 'bare': {
      const { consumeBare } = await import('../contenders/bare.ts')
      return consumeBare(consumer.databaseUrl, consumer, handled)
    }
    case 'pg-boss': {
      const { consumePgBoss } = await import('../contenders/pg-boss.ts')
      return consumePgBoss(consumer.databaseUrl, consumer, handled)
    }
  }
}

process.once('disconnect', () => process.exit())
const running = await consume()
process.once('message', () => running.stop().then(() => process.exit()))
