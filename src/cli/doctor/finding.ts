/* What the doctor says: a level, what is the matter in one sentence, and what to do about it in another. */
import { thousands } from '../output.ts'

/** ok: as it should be. hint: good to know. warning: it hurts, or soon will. problem: something is broken, or messages are at stake. */
export const levels = ['ok', 'hint', 'warning', 'problem'] as const
export type Level = (typeof levels)[number]

/** What is found within a topic. */
export interface Remark {
  readonly level: Level
  readonly what: string
  /** The command or the SQL that helps. Missing where all is well. */
  readonly remedy?: string
}

export interface Finding extends Remark {
  readonly topic: string
}

/** One statement at most, and what it means. */
export interface Topic {
  readonly name: string
  look(patient: Patient): Promise<readonly Remark[]>
}

/** The database as a topic sees it. */
export interface Patient {
  /** Run one statement. It can change nothing, and takes 5 seconds at most. */
  ask<Row>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
  /** Run one that is harmless, without that protection: in one round trip instead of three. */
  askBriefly<Row>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
  /** Instead of the database's clock; for tests. */
  readonly now: Date | undefined
  /** This machine's clock, in milliseconds since 1970. */
  readonly machineTime: () => number
  /** Where Postbag's own connections lead. */
  readonly databaseUrl: string
  /** Where LISTEN is to happen, if not there. */
  readonly directUrl: string | undefined
  /** How long a notification may take, in milliseconds. */
  readonly notifyMillis: number
  /** Most connections that one server process opens. */
  readonly maxConnections: number
}

export const ok = (what: string): Remark => ({ level: 'ok', what })
export const hint = (what: string, remedy: string): Remark => ({ level: 'hint', what, remedy })
export const warning = (what: string, remedy: string): Remark => ({ level: 'warning', what, remedy })
export const problem = (what: string, remedy: string): Remark => ({ level: 'problem', what, remedy })

/** A level by how large something is: the last one whose bound it reaches; undefined below all. */
export function levelFrom(size: number, bounds: Partial<Record<Exclude<Level, 'ok'>, number>>): Level | undefined {
  return levels.findLast((level) => level !== 'ok' && size >= (bounds[level] ?? Number.POSITIVE_INFINITY))
}

/** The first few, and how many more there are. */
export function few(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).join(', ')
  return names.length > most ? `${shown} and ${thousands(names.length - most)} more` : shown
}

const times = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const

/** A time as people say it, to two digits or so: 90 s, 15 min, 36 h, 12 d. */
export function about(seconds: number): string {
  const [unit, size] = times.find(([, each]) => seconds >= 2 * each) ?? (['s', 1] as const)
  return `${thousands(Math.round(seconds / size))} ${unit}`
}

/** 1.5 GiB */
export function size(bytes: number): string {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const value = bytes / 1024 ** power
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${['bytes', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}
