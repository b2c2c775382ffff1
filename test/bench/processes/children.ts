/* The processes beside ours: servers, consumers and deliverers. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { NodeServerOptions } from '../../../functions/node.ts'
import type { ConsumerKind } from './consumer.ts'
import type { DelivererFigures } from './deliverer.ts'

interface Child {
  /** Ask it to end in order, and wait until it has. */
  stop(): Promise<void>
}

export interface ServerChild extends Child {
  readonly url: string
  /** Bytes of memory that it holds. */
  memory(): Promise<number>
}

/** Start a Postbag server over a database. */
export async function startServerProcess(
  databaseUrl: string,
  options: Partial<NodeServerOptions> = {},
): Promise<ServerChild> {
  const child = start('server.ts', [databaseUrl, JSON.stringify(options)])
  const url = (await nextMessage(child)) as string
  return {
    url,
    memory() {
      child.send('memory')
      return nextMessage(child) as Promise<number>
    },
    stop: () => stop(child),
  }
}

export interface ConsumerChild extends Child {
  /** Resolves when it has handled so many; to be awaited one after the other. */
  readonly marks: readonly Promise<void>[]
}

/** Start a consumer that says when it has handled so many messages. */
export function startConsumer(kind: ConsumerKind, marks: readonly number[]): ConsumerChild {
  const child = start('consumer.ts', [JSON.stringify(kind), JSON.stringify(marks)])
  const reached = marks.map(() => Promise.withResolvers<void>())
  child.on('message', (count) => reached[marks.indexOf(count as number)]?.resolve())
  const giveUp = (why: string) => {
    for (const one of reached) one.reject(new Error(`the consumer ${kind.kind} ${why}`))
  }
  const late = setTimeout(() => giveUp(`is not done after ${longestWorkMillis / 1000} s`), longestWorkMillis)
  child.once('exit', () => {
    clearTimeout(late)
    giveUp('ended early')
  })
  const promises = reached.map(({ promise }) => promise)
  // Whoever stops it before its end waits for none of them.
  for (const promise of promises) promise.catch(() => {})
  return { marks: promises, stop: () => stop(child) }
}

export interface DelivererChild extends Child {
  figures(): Promise<DelivererFigures>
}

/** Start a deliverer of webhooks over a database, which looks so often while it has nothing to do. */
export async function startDelivererProcess(databaseUrl: string, idleMillis = 1000): Promise<DelivererChild> {
  const child = start('deliverer.ts', [databaseUrl, String(idleMillis)])
  await nextMessage(child)
  return {
    figures() {
      child.send('figures')
      return nextMessage(child) as Promise<DelivererFigures>
    },
    stop: () => stop(child),
  }
}

function start(file: string, args: readonly string[]): ChildProcess {
  return fork(new URL(file, import.meta.url), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

async function nextMessage(child: ChildProcess): Promise<unknown> {
  const early = new AbortController()
  const [message] = await Promise.race([
    once(child, 'message', early),
    once(child, 'exit', early).then(([code]) => {
      throw new Error(`${child.spawnargs[1]} ended with ${code}`)
    }),
  ]).finally(() => early.abort())
  return message
}

/** How long a consumer may take for all that it is to handle, and a child to end in order. */
const longestWorkMillis = 180_000
const patienceMillis = 10_000

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.send('stop')
  const late = setTimeout(() => child.kill('SIGKILL'), patienceMillis)
  await ended
  clearTimeout(late)
}
