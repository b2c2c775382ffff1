/* postbag import rabbitmq: what RabbitMQ's definitions.json says, all of it or nothing. */
import type { Command } from 'commander'
import type { Definitions, ImportResponse } from '../../wire.ts'
import { Ending, exitCodes } from '../exit.ts'
import { writeJson, writeLine } from '../output.ts'
import { type Server, type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { type Change, changesOfOthers, changesSaid } from './others.ts'
import { readFileOrInput } from './read.ts'
import { countsSaid, findingsSaid, planSaid } from './report.ts'

interface ImportOptions extends ServerOptions {
  readonly vhost?: string
  readonly dryRun?: boolean
  readonly partial?: boolean
  readonly changeOthers?: boolean
  readonly json?: boolean
}

const help = `
The file is what "rabbitmqctl export_definitions", "rabbitmqadmin export" or GET /api/definitions prints. Imported are queues, exchanges,
bindings and policies of one virtual host, in one transaction. What cannot be mapped is listed, with the reason; if messages would then
go or live otherwise than they did, nothing is imported, unless --partial says to do without. What is there and not as in the file refuses
all of it; what is there just so stays, so the command may be repeated. So does a policy that would change queues which are there and not in
the file, unless --change-others allows it.

Examples:
  postbag import rabbitmq definitions.json --dry-run
  rabbitmqctl export_definitions - | postbag import rabbitmq - --vhost /`

/** How long a large one may take, in seconds. */
const timeoutSeconds = 300

export function addImportRabbitmq(group: Command): void {
  const command = group
    .command('rabbitmq')
    .description("Import RabbitMQ's queues, exchanges, bindings and policies.")
    .argument('<file>', 'definitions.json; - is standard input')
    .option('--vhost <name>', 'which virtual host, where there are several')
    .option('--dry-run', 'show what would be imported, and change nothing')
    .option('--partial', 'import the rest, if some of it cannot be mapped')
    .option('--change-others', 'let its policies change queues that are there and not in the file')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(importRabbitmq)
}

async function importRabbitmq(file: string, options: ImportOptions): Promise<void> {
  const { vhost: wanted, dryRun = false, partial = false, changeOthers = false, json = false } = options
  // Loaded only here: they would make every other command start later.
  const { readDefinitions } = await import('./definitions.ts')
  const { translate } = await import('./translate.ts')
  const text = await readFileOrInput(file)
  const { vhost, definitions, findings } = translate(readDefinitions(file, text), wanted)
  const unmapped = findings.filter(({ kind }) => kind === 'unmapped').length
  const isPartial = unmapped > 0 && !partial

  let changes: readonly Change[] = []
  let imported: ImportResponse | undefined
  const isRefused = () => isPartial || (changes.length > 0 && !changeOthers)
  try {
    if (dryRun || !isPartial) {
      await useServer(options, async (server) => {
        changes = await changesOfOthers(server.client, definitions)
        if (dryRun || !isRefused()) imported = await importAll(server, definitions, dryRun)
      })
    }
  } finally {
    // Also where the server refuses: what is not the same may be why.
    if (json)
      await writeJson({
        vhost,
        dryRun,
        refused: isRefused(),
        imported,
        findings,
        changesOfOthers: changes,
        definitions,
      })
    else {
      if (dryRun) await writeLine(planSaid(definitions))
      if (findings.length > 0) await writeLine(findingsSaid(findings))
      if (imported && !isRefused()) {
        if (changes.length > 0) await writeLine(`Queues that are not in the file:\n${changesSaid(changes)}`)
        await writeLine(countsSaid(imported, dryRun))
      }
    }
  }
  if (isRefused()) throw refusal(isPartial ? unmapped : 0, changeOthers ? [] : changes, dryRun)
}

async function importAll({ connection }: Server, definitions: Definitions, dryRun: boolean): Promise<ImportResponse> {
  const { data } = await connection.call<ImportResponse>(
    'POST',
    '/import',
    { ...definitions, dryRun },
    { timeoutSeconds },
  )
  return data
}

function refusal(unmapped: number, changes: readonly Change[], dryRun: boolean): Ending {
  const reasons: string[] = []
  if (unmapped > 0) {
    const what = unmapped === 1 ? 'one thing' : `${unmapped} things`
    reasons.push(`${what} cannot be mapped; --partial imports the rest`)
  }
  if (changes.length > 0) {
    const what = 'policies would change queues that are there and not in the file; --change-others lets them'
    reasons.push(`${what}\n${changesSaid(changes)}`)
  }
  const done = dryRun ? 'would be' : 'was'
  return new Ending(exitCodes.failed, `nothing ${done} imported: ${reasons.join('; and ')}`)
}
