/* A bare NOTIFY, as the physical limit of waking somebody. */
import type pg from 'pg'

/** Listen; each call of what comes back waits for the next notification. */
export async function listen(listener: pg.Client): Promise<() => Promise<void>> {
  let heard = () => {}
  listener.on('notification', () => heard())
  await listener.query('listen bench')
  return () =>
    new Promise((resolve) => {
      heard = resolve
    })
}

export function notify(client: pg.Client): Promise<unknown> {
  return client.query({ name: 'notify', text: `select pg_notify('bench', '')` })
}
