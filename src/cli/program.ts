/* The command line: its commands, and what "postbag --help" says.
 *
 * One command per file. Each is added with its options, help and action; what several need is in
 *
 *   server.ts    where Postbag is: a server, or a database with the app in this process
 *   database.ts  the database, for those who work on it directly
 *   output.ts    writing results; progress.ts, confirm.ts: talking to a person; exit.ts: ending
 *   values.ts    reading option values; filters.ts: those that say which messages
 *
 * Modules that take long to load (pg, Hono, the embedded database) are imported by the commands that need them, when they do. */
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { addDev } from './dev.ts'
import { addDoctor } from './doctor.ts'
import { addEndpointAttempts } from './endpoint/attempts.ts'
import { addEndpointDelete } from './endpoint/delete.ts'
import { addEndpointList } from './endpoint/list.ts'
import { addEndpointRecover } from './endpoint/recover.ts'
import { addEndpointResend } from './endpoint/resend.ts'
import { addEndpointRotate } from './endpoint/rotate.ts'
import { addEndpointSet } from './endpoint/set.ts'
import { addEndpointShow } from './endpoint/show.ts'
import { addEndpointSwitches } from './endpoint/switch.ts'
import { addEndpointTest } from './endpoint/test.ts'
import { addExchangeBind } from './exchange/bind.ts'
import { addExchangeBindings } from './exchange/bindings.ts'
import { addExchangeDeclare } from './exchange/declare.ts'
import { addExchangeDelete } from './exchange/delete.ts'
import { addExchangeList } from './exchange/list.ts'
import { addExchangeTest } from './exchange/test.ts'
import { exitCodesHelp } from './exit.ts'
import { addImportRabbitmq } from './import/rabbitmq.ts'
import { addMaintain } from './maintain.ts'
import { addMigrate } from './migrate.ts'
import { addPause } from './pause.ts'
import { addPeek } from './peek.ts'
import { addPolicyDelete } from './policy/delete.ts'
import { addPolicyList } from './policy/list.ts'
import { addPolicySet } from './policy/set.ts'
import { addPublish } from './publish.ts'
import { addQueueCreate } from './queue/create.ts'
import { addQueueDelete } from './queue/delete.ts'
import { addQueueList } from './queue/list.ts'
import { addQueuePurge } from './queue/purge.ts'
import { addQueueShow } from './queue/show.ts'
import { addReceive } from './receive.ts'
import { addRedrive } from './redrive.ts'
import { addReply } from './reply.ts'
import { addRequest } from './request.ts'
import { addResume } from './resume.ts'
import { addSend } from './send.ts'
import { addStats } from './stats.ts'
import { addToken } from './token.ts'
import { addUninstall } from './uninstall.ts'

const help = `
Where commands find Postbag:
  --url or POSTBAG_URL   a server; with --token or POSTBAG_TOKEN if it wants one
  DATABASE_URL           else: a database, with no server in between
  otherwise              http://127.0.0.1:8787 (or PORT), where "postbag dev" listens

A first try:
  postbag dev                                  in one terminal, and in another:
  postbag queue create hello
  postbag send hello '{"text": "Hello World"}'
  postbag receive hello --ack

"postbag <command> --help" tells more. With --json, results are one JSON object per line.
${exitCodesHelp}`

export function program(): Command {
  const { version } = createRequire(import.meta.url)('postbag/package.json') as { version: string }
  const postbag = new Command('postbag')
    .description('A message queue that needs nothing but Postgres.')
    .version(version)
    .addHelpText('after', help)
    .exitOverride()

  postbag.commandsGroup('On this machine:')
  addDev(postbag)
  postbag.commandsGroup('Messages:')
  addSend(postbag)
  addPublish(postbag)
  addReceive(postbag)
  addRequest(postbag)
  addReply(postbag)
  addPeek(postbag)
  addRedrive(postbag)
  addStats(postbag)
  postbag.commandsGroup('Queues:')
  const queue = postbag.command('queue').description('Create, list, show, delete and purge queues.')
  addQueueCreate(queue)
  addQueueList(queue)
  addQueueShow(queue)
  addQueueDelete(queue)
  addQueuePurge(queue)
  const exchange = postbag.command('exchange').description('Declare, bind, list, test and delete exchanges.')
  addExchangeDeclare(exchange)
  addExchangeBind(exchange)
  addExchangeBindings(exchange)
  addExchangeList(exchange)
  addExchangeTest(exchange)
  addExchangeDelete(exchange)
  const policy = postbag.command('policy').description('Set, list and delete settings of all queues that match.')
  addPolicySet(policy)
  addPolicyList(policy)
  addPolicyDelete(policy)
  addPause(postbag)
  addResume(postbag)
  postbag.commandsGroup('Webhooks:')
  const endpoint = postbag.command('endpoint').description('Set, watch and mend endpoints of webhooks.')
  addEndpointSet(endpoint)
  addEndpointList(endpoint)
  addEndpointShow(endpoint)
  addEndpointDelete(endpoint)
  addEndpointSwitches(endpoint)
  addEndpointRotate(endpoint)
  addEndpointTest(endpoint)
  addEndpointAttempts(endpoint)
  addEndpointResend(endpoint)
  addEndpointRecover(endpoint)
  postbag.commandsGroup('Set up and upkeep:')
  addMigrate(postbag)
  addImportRabbitmq(postbag.command('import').description('Import what another broker exported.'))
  addMaintain(postbag)
  addDoctor(postbag)
  addUninstall(postbag)
  addToken(postbag)
  return postbag
}
