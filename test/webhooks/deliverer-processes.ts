/* Deliverers that are processes of their own, so that they can be killed. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

export interface DelivererSettings {
  readonly databaseUrl: string
  /** With which secrets are sealed. */
  readonly keys: string
  /** Since when their clock runs faster (milliseconds), and how much. The same for all, or the lease of one would end too early for another. */
  readonly began: number
  readonly speed: number
}

/** Start some; at the end of the test they are killed. */
export function createDeliverers(settings: DelivererSettings) {
  const children = new Set<ChildProcess>()
  const stopAll = (stop: (child: ChildProcess) => void) =>
    Promise.all(
      [...children].map(async (child) => {
        children.delete(child)
        const ended = once(child, 'exit')
        stop(child)
        await ended
      }),
    )
  return {
    async start(count: number): Promise<void> {
      const started = Array.from({ length: count }, () =>
        fork(new URL('deliverer-process.ts', import.meta.url), [JSON.stringify(settings)], { execArgv: [] }),
      )
      for (const child of started) children.add(child)
      await Promise.all(started.map((child) => once(child, 'message')))
    },
    /** As kill -9 does, in the middle of whatever they do. */
    kill: () => stopAll((child) => child.kill('SIGKILL')),
    /** In order; who does not end fails the test by its silence. */
    stop: () => stopAll((child) => child.send('stop')),
  }
}
