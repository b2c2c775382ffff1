/* The Worker with doors for tests:
 *
 *   POST /test/reset            ends its Durable Object at once, as the platform does when it moves one or when its code was updated.
 *                               Whoever waits there sees his call fail.
 *   POST /test/abandon/{queue}  waits at the object, and when it is woken ends without a look or a word, as a Worker that crashes. */
import worker, { WakeupHub as Hub, type WorkerEnv } from '../../functions/cloudflare.ts'

export class WakeupHub extends Hub {
  reset(): void {
    this.ctx.abort('reset by the test')
  }
}

interface Resettable {
  reset(): Promise<void>
  wait(queue: string, max: number, hasLooked: boolean): { hint(millis: number): Promise<boolean> }
}

export default {
  scheduled: worker.scheduled,
  async fetch(request: Request, env: WorkerEnv, lifetime: Parameters<typeof worker.fetch>[2]): Promise<Response> {
    const [, test, what, queue = ''] = new URL(request.url).pathname.split('/')
    if (test !== 'test') return worker.fetch(request, env, lifetime)
    const hub = env.HUB?.getByName('hub 0') as unknown as Resettable
    if (what === 'abandon') await hub.wait(queue, 1, true).hint(20_000)
    else await hub.reset().catch(() => {})
    return new Response(null, { status: 204 })
  },
}
