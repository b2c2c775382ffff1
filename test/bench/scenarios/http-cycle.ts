/* Full cycle over HTTP: what the door adds to the database. */
import type { Bench } from '../bench.ts'
import { httpCycles } from '../contenders/postbag-http.ts'
import { loadOf } from '../contenders/sql.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Full cycle over HTTP'
export const measures =
  'Each connection sends n messages of 200 bytes, receives n and acks them, three requests to a server in another process.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await pool.query(`select name from postbag.create_queue('bench')`)
  const server = await startServerProcess(url)
  try {
    for (const connections of bench.variants([1, 64])) {
      for (const batch of bench.variants([1, 10, 100])) {
        await bench.inTurn(loadOf(batch, connections), [
          { name: 'Postbag', measure: () => httpCycles(server.url, connections, batch, { seconds: bench.seconds(1) }) },
        ])
      }
    }
  } finally {
    await server.stop()
  }
}
