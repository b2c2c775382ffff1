/* A real browser: Chromium without a window, from a package. All that it unpacks and writes is in a folder of its own, which goes with it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inflate } from '@sparticuz/chromium'
import { type Browser, chromium } from 'playwright-core'

/** Why there is none here; undefined where there is. */
export const lacksChromium =
  process.platform === 'linux' && process.arch === 'x64' ? undefined : 'the packaged Chromium is for Linux on x64'

const packed = fileURLToPath(new URL('../bin/chromium.br', import.meta.resolve('@sparticuz/chromium')))

export interface RunningBrowser {
  readonly browser: Browser
  stop(): Promise<void>
}

export async function startChromium(): Promise<RunningBrowser> {
  const folder = await mkdtemp(join(tmpdir(), 'postbag-chromium-'))
  const before = process.env['TMPDIR']
  const clean = () => rm(folder, { recursive: true, force: true })
  // The one way to tell the package where to unpack, and the browser where to put its profile.
  process.env['TMPDIR'] = folder
  try {
    const browser = await chromium.launch({ executablePath: await inflate(packed), args: ['--disable-gpu'] })
    return { browser, stop: () => browser.close().finally(clean) }
  } catch (error) {
    await clean()
    throw error
  } finally {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
  }
}
