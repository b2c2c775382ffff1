/* What "postbag dev" says when it is ready: where it listens, where the data is, and three commands to try. */
import { resolve } from 'node:path'
import type { ServerConfig } from '../config.ts'
import { placeOf } from './database.ts'

/** @param url where the server listens */
export function banner({ access, host, databaseUrl, dataFolder }: ServerConfig, url: string): string {
  // What listens everywhere is reached here too.
  const here = host === '0.0.0.0' || host === '::' ? `http://127.0.0.1:${new URL(url).port}` : url
  const where = here === 'http://127.0.0.1:8787' ? '' : ` --url ${here}`
  const token = access.kind === 'token' ? ' -H "Authorization: Bearer $POSTBAG_TOKEN"' : ''
  return [
    `Postbag listens on ${url}`,
    databaseUrl === undefined
      ? `Data is kept in ${resolve(dataFolder)} (Postgres; its address is in ${dataFolder}/url)`
      : `Data is kept in ${placeOf(databaseUrl)} (DATABASE_URL)`,
    ...(access.kind === 'token'
      ? ['Access needs a token: export POSTBAG_TOKEN=$(npx postbag token --scope admin --expires 1d)']
      : []),
    '',
    'Try it, in another terminal, in this folder:',
    '',
    `  npx postbag queue create hello${where}`,
    `  curl ${here}/v1/queues/hello/messages -d "Hello World"${token}`,
    `  npx postbag receive hello --wait 20 --ack${where}`,
    '',
    'Ctrl-C stops it.',
  ].join('\n')
}
