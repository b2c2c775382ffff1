/* postbag doctor: what is hurting, and what to do about it. Looks only. */
import { type Command, Option } from 'commander'
import { serverConfig } from '../config.ts'
import { useDatabase } from './database.ts'
import { type Finding, levels } from './doctor/finding.ts'
import { Ending, exitCodes } from './exit.ts'
import { counted, onOneLine, write } from './output.ts'
import { httpUrl } from './values.ts'

interface DoctorOptions {
  readonly url?: string
  readonly json?: boolean
}

const levelWidth = Math.max(...levels.map((level) => level.length))

const help = `
Looks at DATABASE_URL or, while "postbag dev" runs, at its embedded database, and changes nothing. With --url, at what can be seen from
that server; at the database too, if DATABASE_URL is set.

  DATABASE_DIRECT_URL      where LISTEN is to happen, if DATABASE_URL leads through a pooler
  POSTBAG_MAX_CONNECTIONS  what your servers have for their pools (10)

Exit code 0 if nothing is worse than a hint, 1 if there is a warning or a problem.`

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Say what is hurting: held snapshots, dead rows, settings, poolers, connections, clocks, queues.')
    .addOption(new Option('--url <url>', 'a server to look at').env('POSTBAG_URL').argParser(httpUrl))
    .option('--json', 'a line of JSON each')
    .addHelpText('after', help)
    .action(doctor)
}

async function doctor({ url, json = false }: DoctorOptions): Promise<void> {
  const { examineServer } = await import('./doctor/server.ts')
  const { examine, topicWidth } = await import('./doctor/examine.ts')
  const found: Finding[] = []
  const databaseToo = !url || Boolean(process.env['DATABASE_URL'])
  try {
    if (url) for await (const finding of examineServer(url, databaseToo)) found.push(finding)
    if (databaseToo) {
      const { maxConnections, directUrl } = serverConfig({
        POSTBAG_MAX_CONNECTIONS: process.env['POSTBAG_MAX_CONNECTIONS'],
        DATABASE_DIRECT_URL: process.env['DATABASE_DIRECT_URL'],
      })
      await useDatabase(async (pool) => {
        for await (const finding of examine(pool, { directUrl, maxConnections })) found.push(finding)
      })
    }
  } finally {
    // Also what was found before the database went away.
    const lines = found.map((finding) => (json ? JSON.stringify(finding) : lineOf(finding, topicWidth)))
    await write(lines.map((line) => `${line}\n`).join(''))
  }

  const said = (['problem', 'warning'] as const)
    .map((level) => ({ level, count: found.filter((finding) => finding.level === level).length }))
    .filter(({ count }) => count > 0)
    .map(({ level, count }) => counted(count, level))
  if (said.length > 0) throw new Ending(exitCodes.failed, said.join(', '))
}

/** The remedy stands on a line of its own, so that it can be copied. (Names in it may have characters that a terminal would obey.) */
function lineOf({ level, topic, what, remedy }: Finding, topicWidth: number): string {
  const margin = [level.padEnd(levelWidth), topic.padEnd(topicWidth)].join('  ')
  return `${margin}  ${onOneLine(what)}${remedy ? `\n${' '.repeat(margin.length)}  → ${shownRemedy(remedy)}` : ''}`
}

/** Copied without them, it would be about something else. */
function shownRemedy(remedy: string): string {
  const shown = onOneLine(remedy)
  return shown === remedy ? shown : `${shown} (Some characters are not shown: "--json" has them.)`
}
