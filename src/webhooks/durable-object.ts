/* The clock of a Worker's webhooks, as a Durable Object: its alarm rings when the next delivery is due, delivers, and is set anew. One
 * object is enough: what is published is delivered by the Worker that published it.
 *
 *  1. The alarm is kept by the platform, whatever becomes of the object; one that fails rings again, after 2 s and longer, up to six times.
 *  2. Who has drained says when the next delivery is due, and so sets it. What is published in SQL nobody says: cron finds it.
 *  3. An alarm may take 15 minutes. So attempts have all the time that their endpoints allow. */
import { DurableObject } from 'cloudflare:workers'
import { connect } from '../db/connect.ts'
import { errorForLog } from '../errors.ts'
import { limitsWithin } from './delivering.ts'
import { drainInWorker, nextMillis, type WebhookEnv } from './worker.ts'

interface AlarmEnv extends WebhookEnv {
  readonly HYPERDRIVE?: { readonly connectionString: string }
}

const lifeMillis = 120_000
const beginMillis = 30_000

export class WebhookAlarm extends DurableObject<AlarmEnv> {
  /** Deliver in so many milliseconds, if it does not ring before. */
  async ringIn(millis: number): Promise<void> {
    const { storage } = this.ctx
    const at = Date.now() + millis
    const known = await storage.getAlarm()
    if (known === null || at < known) await storage.setAlarm(at)
  }

  async alarm(): Promise<void> {
    const pool = connect(this.env.HYPERDRIVE?.connectionString ?? '', {
      maxConnections: 1,
      answerTimeoutMillis: 30_000,
    })
    try {
      const limits = limitsWithin(lifeMillis, beginMillis)
      const millis = nextMillis(
        await drainInWorker(this.env, pool, (error) => console.error(errorForLog(error)), limits),
      )
      if (millis !== undefined) await this.ringIn(millis)
    } finally {
      await pool.end()
    }
  }
}
