/* Receives that wait: long polls through one server, each asked again when it comes back empty. */
import { openManyHttp, post } from '../http-load.ts'
import { askFor } from './postbag-http.ts'

export interface Waiters {
  /** Leave; what they were waiting for stays. */
  stop(): void
}

export async function waitIdly(url: string, queue: string, count: number): Promise<Waiters> {
  const connections = await openManyHttp(url, count)
  const request = post(`${url}/v1/queues/${queue}/receive`, '{"waitSeconds":20}')
  let over = false
  for (const connection of connections) {
    const ask = async () => {
      while (!over) await askFor(connection, request, 200)
    }
    ask().catch((error) => {
      if (!over) console.error(error)
    })
  }
  return {
    stop() {
      over = true
      for (const connection of connections) connection.close()
    },
  }
}
