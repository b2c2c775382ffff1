/* Webhooks on this machine without any setting: "postbag dev" makes a key for their secrets and keeps it beside the embedded
 * database. While the server serves only this machine, receivers may be on it too. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Environment, type ServerConfig, type WebhookSettings, webhookSettings } from '../config.ts'

/** @param folder of the embedded database; undefined: another one, whose key the environment must say */
export async function webhooksHere(
  { access }: ServerConfig,
  folder: string | undefined,
  env: Environment = process.env,
): Promise<WebhookSettings | undefined> {
  return webhookSettings({
    ...env,
    POSTBAG_WEBHOOK_KEY: env['POSTBAG_WEBHOOK_KEY'] || (folder && (await keyIn(join(folder, 'webhook-key')))),
    POSTBAG_WEBHOOK_ALLOW_PRIVATE: env['POSTBAG_WEBHOOK_ALLOW_PRIVATE'] || String(access.kind === 'open'),
  })
}

async function keyIn(file: string): Promise<string> {
  const { readWhole, writeWhole } = await import('../db/embedded-files.ts')
  const kept = await readWhole(file)
  if (kept === undefined) {
    const made = randomBytes(32).toString('base64')
    await writeWhole(file, `${made}\n`)
    return made
  }
  try {
    webhookSettings({ POSTBAG_WEBHOOK_KEY: kept })
  } catch {
    const way = 'put it back, or remove it (the secrets of endpoints that it sealed must then be set anew)'
    throw new Error(`${file} holds no key: ${way}`)
  }
  return kept
}
