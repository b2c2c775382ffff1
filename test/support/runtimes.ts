/* test/runtimes holds what only some tests need, as a package of its own. It is installed here, on first use and whenever its
 * lock file has changed. */
import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const folder = new URL('../runtimes/', import.meta.url)
const installedLock = new URL('node_modules/.installed-lock.json', folder)

export async function installRuntimes(): Promise<void> {
  const lock = await readFile(new URL('package-lock.json', folder), 'utf8')
  if (lock === (await readFile(installedLock, 'utf8').catch(() => ''))) return
  console.log(
    'Installing what only tests need (workerd, Deno, Bun, Chromium, Postgres 15, ORMs …) into test/runtimes, once; about 720 MB.',
  )
  execFileSync('npm', ['ci', '--loglevel=error'], {
    cwd: fileURLToPath(folder),
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  await writeFile(installedLock, lock)
}

if (import.meta.main) await installRuntimes()
