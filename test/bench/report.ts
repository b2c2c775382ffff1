/* Figures as people read them: tables that are Markdown too; and the circumstances that figures mean nothing without. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import type { Figure, Length, Verdict } from './bench.ts'
import { median } from './measure.ts'

export function figuresTable(figures: readonly Figure[]): string {
  const withTimes = figures.some((figure) => figure.p50Millis !== undefined)
  return table(
    ['', 'contender', 'median', 'range', 'unit', ...(withTimes ? ['p50 ms', 'p99 ms'] : []), '× first'],
    figures.map((figure, index) => [
      figure.part === figures[index - 1]?.part ? '…' : figure.part,
      figure.contender,
      short(median(figure.values)),
      figure.values.length > 1 ? `${short(Math.min(...figure.values))} – ${short(Math.max(...figure.values))}` : '',
      figure.unit,
      ...(withTimes ? [short(figure.p50Millis), short(figure.p99Millis)] : []),
      figure.ratio === undefined ? '' : figure.ratio.toFixed(2),
    ]),
  )
}

export function verdictsTable(verdicts: readonly Verdict[]): string {
  return table(
    ['what must hold', 'target', 'measured', 'held'],
    verdicts.map(({ what, relation, target, measured, held }) => [
      what,
      `${relation} ${target}`,
      measured >= 100 ? short(measured) : measured.toFixed(2),
      held ? 'yes' : 'no',
    ]),
  )
}

/** Columns padded, so that it reads well unrendered. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, 3, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

/** Three digits that matter, and every digit of what is large. */
function short(value: number | undefined): string {
  if (value === undefined) return ''
  return value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))
}

export function circumstances(postgres: string, length: Length) {
  const { devDependencies, dependencies } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as Record<string, Record<string, string>>
  return {
    commit: execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=40'], { encoding: 'utf8' }).trim(),
    date: new Date().toISOString(),
    versions: {
      postgres,
      node: process.version,
      pg: dependencies?.['pg'],
      'graphile-worker': devDependencies?.['graphile-worker'],
      'pg-boss': devDependencies?.['pg-boss'],
    },
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) },
    settings: { postgres: 'defaults (fsync and synchronous_commit on), but max_connections 200', length },
  }
}
