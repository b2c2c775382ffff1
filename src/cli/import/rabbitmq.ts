/* postbag import rabbitmq: what RabbitMQ's definitions.json says, all of it or nothing. */
import type { Command } from 'commander'
import type { ImportRequest, ImportResponse } from '../../wire.ts'
import { Ending, exitCodes } from '../exit.ts'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { readFileOrInput } from './read.ts'
import { countsSaid, findingsSaid, planSaid } from './report.ts'

interface ImportOptions extends ServerOptions {
  readonly vhost?: string
  readonly dryRun?: boolean
  readonly partial?: boolean
  readonly json?: boolean
}

const help = `
The file is what "rabbitmqctl export_definitions", "rabbitmqadmin export" or GET /api/definitions prints. Imported are queues, exchanges,
bindings and policies of one virtual host, in one transaction. What cannot be mapped is listed, with the reason; if messages would then
go or live otherwise than they did, nothing is imported, unless --partial says to do without. What is there and not as in the file refuses
all of it; what is there just so stays, so the command may be repeated.

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
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(importRabbitmq)
}

async function importRabbitmq(file: string, options: ImportOptions): Promise<void> {
  const { vhost: wanted, dryRun = false, partial = false, json = false } = options
  // Loaded only here: they would make every other command start later.
  const { readDefinitions } = await import('./definitions.ts')
  const { translate } = await import('./translate.ts')
  const text = await readFileOrInput(file)
  const { vhost, definitions, findings } = translate(readDefinitions(file, text), wanted)
  const unmapped = findings.filter(({ kind }) => kind === 'unmapped').length
  const isRefused = unmapped > 0 && !partial

  let imported: ImportResponse | undefined
  try {
    if (dryRun || !isRefused) imported = await importAll(options, { ...definitions, dryRun })
  } finally {
    // Also where the server refuses: what is not the same may be why.
    if (json) await writeJson({ vhost, dryRun, refused: isRefused, imported, findings, definitions })
    else {
      if (dryRun) await writeLine(planSaid(definitions))
      if (findings.length > 0) await writeLine(findingsSaid(findings))
      if (imported && !isRefused) await writeLine(countsSaid(imported, dryRun))
    }
  }
  if (!isRefused) return
  const what = unmapped === 1 ? 'one thing' : `${unmapped} things`
  const done = dryRun ? 'would be' : 'was'
  throw new Ending(exitCodes.failed, `nothing ${done} imported: ${what} cannot be mapped; --partial imports the rest`)
}

async function importAll(options: ServerOptions, request: ImportRequest): Promise<ImportResponse | undefined> {
  let imported: ImportResponse | undefined
  await useServer(options, async ({ connection }) => {
    const { data } = await connection.call<ImportResponse>('POST', '/import', request, { timeoutSeconds })
    imported = data
  })
  return imported
}
