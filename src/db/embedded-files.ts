/* The small files in the data folder of the embedded database. Each is there as a whole or not at all, wherever a start was interrupted and also
 * where the disk is full; and an editor may have left a byte order mark or a line end around its text. */
import { randomBytes, randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ignore } from './embedded-binaries.ts'

/** What a file says; undefined if it is not there, or empty. */
export async function readWhole(path: string): Promise<string | undefined> {
  return (await readFile(path, 'utf8').catch(ignore('ENOENT')))?.trim() || undefined
}

/** Write a file that only its owner may read. For one process at a time. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** The url of the database that a process on this data folder runs, or last ran; undefined if there was none. */
export async function embeddedUrl(dataDir: string): Promise<string | undefined> {
  return readWhole(join(dataDir, 'url')).catch(() => undefined)
}

/** Two first starts at once must agree on one password, whichever cluster wins: link() succeeds for one of them only. */
export async function createPassword(dataDir: string): Promise<void> {
  const draft = join(dataDir, `password-${randomUUID()}`)
  await writeFile(draft, randomBytes(24).toString('base64url'), { mode: 0o600 })
  await link(draft, join(dataDir, 'password')).catch(ignore('EEXIST'))
  await rm(draft)
}

/** @throws Error with a sentence that says what to do. */
export async function passwordOf(dataDir: string): Promise<string> {
  const file = join(dataDir, 'password')
  const password = await readWhole(file)
  if (password !== undefined) return password
  throw new Error(`${file} holds no password: put it back, or move ${dataDir} away to begin with an empty database.`)
}
