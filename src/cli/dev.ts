/* postbag dev: everything on this machine, from one command: Postgres, the tables, the server.
 *
 *  1. What a person reads (progress, banner, trouble) goes to standard error. Standard output is the request log, a line of JSON per
 *     request; at a terminal, where that would bury the banner, only failures are shown unless --verbose asks for all.
 *  2. What was started is stopped in reverse order, however it ends: the server answers the receives that wait and closes its
 *     connections, then Postgres stops. A second Ctrl-C ends the process at once; Postgres then shuts down by itself.
 *  3. kill -9 loses nothing: Postgres stays, and the next start stops it in order and starts it anew (db/embedded.ts). */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type ServerConfig, serverConfig } from '../config.ts'
import { asQueueError } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { banner } from './banner.ts'
import { Ending, exitCodes } from './exit.ts'
import { requestLog } from './request-log.ts'
import { stopSignal } from './signals.ts'
import { portNumber } from './values.ts'
import { webhooksHere } from './webhook-key.ts'

interface DevOptions {
  readonly port?: number
  readonly verbose?: boolean
}

const help = `
Environment:
  PORT           port to listen on (8787)
  HOST           address to listen on (127.0.0.1); any that others can reach needs POSTBAG_SECRET
  POSTBAG_DATA   folder of the embedded Postgres (.postbag); kept between starts
  DATABASE_URL   a Postgres of your own, instead of the embedded one
  DATABASE_DIRECT_URL
                 the same without a transaction pooler in between, to listen on
  POSTBAG_MAX_CONNECTIONS
                 most connections to it (10), and one more while somebody waits
  POSTBAG_SECRET 32 or more characters: requests then need a token ("postbag token")
  POSTBAG_BASE_PATH
                 what paths begin with where a front hands requests on so, such as /postbag
  POSTBAG_WEBHOOK_KEY
                 32 random bytes as base64: seals the secrets of webhook endpoints
  POSTBAG_WEBHOOK_ALLOW_PRIVATE
                 true: webhooks may call http and private addresses, for development
  POSTBAG_WEBHOOK_PORTS
                 the only ports that webhooks may call, such as 443,8443

Standard output has one line of JSON per request; at a terminal only failures are shown, unless with --verbose.`

export function addDev(program: Command): void {
  program
    .command('dev')
    .description('Start everything on this machine: Postgres, the tables, the server.')
    .option('--port <number>', 'port to listen on; 0: any (default: PORT, or 8787)', portNumber)
    .option('--verbose', 'show every request, also at a terminal')
    .addHelpText('after', help)
    .action(dev)
}

async function dev({ port, verbose = false }: DevOptions): Promise<void> {
  const stopping = stopSignal()
  stopping.addEventListener('abort', () => say('\nStopping…'))
  const config = serverConfig(process.env)
  await run({ ...config, port: port ?? config.port }, verbose, stopping)
  say('Stopped.')
}

async function run(config: ServerConfig, verbose: boolean, stopping: AbortSignal): Promise<void> {
  const started = performance.now()
  const postgres = config.databaseUrl === undefined ? await startPostgres(config.dataFolder) : undefined
  try {
    const databaseUrl = config.databaseUrl ?? postgres?.url ?? ''
    if (stopping.aborted) return
    await migrate(databaseUrl, postgres && config.dataFolder)
    if (stopping.aborted) return
    const webhooks = await webhooksHere(config, postgres && config.dataFolder)
    const server = await listen({ ...config, webhooks }, databaseUrl, verbose)
    try {
      say(`Ready after ${((performance.now() - started) / 1000).toFixed(1)} s.\n`)
      say(banner(config, server.url))
      await stopOrLoss(stopping, postgres?.ended)
    } finally {
      await server.stop()
    }
  } finally {
    await postgres?.stop()
  }
}

async function startPostgres(dataFolder: string) {
  const { startEmbedded } = await import('../db/embedded.ts')
  const postgres = await startEmbedded({ dataDir: dataFolder, onProgress: say })
  // It lies in somebody's project, and is nothing to commit.
  await writeFile(join(dataFolder, '.gitignore'), '*\n')
  return postgres
}

async function migrate(databaseUrl: string, dataFolder: string | undefined): Promise<void> {
  const { connect } = await import('../db/connect.ts')
  const { install } = await import('../db/install.ts')
  const pool = connect(databaseUrl, { maxConnections: 1 })
  try {
    const { installed } = await install(pool)
    for (const { number, name } of installed) say(`ran migration ${number} (${name})`)
  } catch (error) {
    if (dataFolder === undefined || !(error instanceof QueueError && error.code === 'schema_mismatch'))
      throw asQueueError(error)
    // "postbag uninstall" could not reach it, because it only runs while we do.
    throw new QueueError(error.code, `${error.message}\nOr move ${dataFolder} away, to begin with an empty database`)
  } finally {
    await pool.end()
  }
}

async function listen(config: ServerConfig, databaseUrl: string, verbose: boolean) {
  const { startServer } = await import('../../functions/node.ts')
  try {
    return await startServer({ ...config, databaseUrl, log: requestLog(process.stdout, verbose) })
  } catch (error) {
    const { host, port } = config
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') {
      const other = `choose another port, such as --port ${port + 1}`
      throw new Ending(
        exitCodes.failed,
        `port ${port} on ${host} is taken by another program: stop that one, or ${other}`,
      )
    }
    if (code === 'EACCES')
      throw new Ending(exitCodes.failed, `this user may not listen on port ${port}: choose one above 1023`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new Ending(exitCodes.failed, `HOST is ${host}, which is no address of this machine: try 127.0.0.1`)
    }
    throw error
  }
}

/** Resolves when we are to stop; rejects if Postgres ends before. */
function stopOrLoss(stopping: AbortSignal, lost: Promise<void> | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stopping.aborted) resolve()
    stopping.addEventListener('abort', () => resolve())
    void lost?.then(() =>
      reject(new Ending(exitCodes.failed, 'Postgres has ended: postgres.log in the data folder says why')),
    )
  })
}

function say(sentence: string): void {
  console.error(sentence)
}
