/* Configuration, read from a platform's environment once and checked: every entry in functions/ begins here. */

/** Who may use the HTTP door: whoever holds a token signed with the secret, or (on loopback only) everybody. */
export type Access = { readonly kind: 'token'; readonly secret: string } | { readonly kind: 'open' }

/** What the app itself needs to know, the same on every platform. */
export interface AppConfig {
  readonly access: Access
  /** What the paths of requests begin with, such as /postbag, where a front hands them over so. Defaults to none. A request without it is
   * served too: some fronts take it off. */
  readonly basePath?: string | undefined
  /** Undefined: no endpoints can be made. */
  readonly webhooks?: WebhookSettings | undefined
}

/** The settings of webhooks. */
export interface WebhookSettings {
  /** What seals the secrets of endpoints: each 32 bytes as base64, separated by commas. The first seals, all open. */
  readonly keys: string
  /** Whether http and private addresses may be called: for development. */
  readonly allowPrivate: boolean
  /** The only ports that may be called. Undefined: 80, 443 and those from 1024 on. */
  readonly ports?: readonly number[]
}

/** What a server process needs besides. */
export interface ServerConfig extends AppConfig {
  readonly host: string
  readonly port: number
  /** Undefined: the embedded database. */
  readonly databaseUrl: string | undefined
  /** The same database without a transaction pooler in between, to listen on. Undefined: the same address. */
  readonly directUrl: string | undefined
  /** Folder of the embedded database. */
  readonly dataFolder: string
  /** Most connections of the pool. */
  readonly maxConnections: number
}

/** What a function on somebody's platform needs besides. */
export interface FunctionConfig extends AppConfig {
  readonly databaseUrl: string
  /** The same database without a transaction pooler in between, to listen on. Undefined: the same address. */
  readonly directUrl: string | undefined
  /** Whether it has another invocation of itself deliver webhooks. */
  readonly invokesItself: boolean
}

export type Environment = Readonly<Record<string, string | undefined>>

/** A secret that is too short can be guessed from one token; HS256 wants 256 bits (RFC 7518, section 3.2). */
const minSecretLength = 32

const loopbackHosts = ['127.0.0.1', 'localhost', '::1', '[::1]']

/** Whether a host name or address is this machine only. */
export function isLoopback(host: string): boolean {
  return loopbackHosts.includes(host)
}

/** Access by token; for platforms that are always reachable from outside.
 * @throws Error with a sentence that says what to set. */
export function tokenAccess(secret: string | undefined): Access {
  if (!secret)
    throw new Error('POSTBAG_SECRET is not set: tokens are signed with it. Use 32 or more random characters.')
  refuseMark('POSTBAG_SECRET', secret)
  if (secret.length < minSecretLength) {
    throw new Error(`POSTBAG_SECRET must have at least ${minSecretLength} characters, got ${secret.length}`)
  }
  return { kind: 'token', secret }
}

/** Some editors put one before the text of a file. Nobody sees it, and what is compared is then another. */
function refuseMark(name: string, given: string): void {
  if (given.startsWith('\ufeff')) throw new Error(`${name} begins with a byte order mark (U+FEFF): remove it`)
}

/** A server that asks for no token may listen on loopback only.
 * @throws Error with a sentence that says what to set. */
export function refuseOpenDoor(access: Access, host: string): void {
  if (access.kind === 'token' || isLoopback(host)) return
  throw new Error(
    `HOST is ${host}, which others can reach, and POSTBAG_SECRET is not set: anybody could use the queues. ` +
      'Set POSTBAG_SECRET to 32 or more random characters, or HOST to 127.0.0.1.',
  )
}

/** Configuration of a server process. Reads PORT, HOST, DATABASE_URL, DATABASE_DIRECT_URL, POSTBAG_SECRET, POSTBAG_DATA,
 * POSTBAG_MAX_CONNECTIONS, POSTBAG_BASE_PATH, and the settings of webhooks.
 * @throws Error with a sentence that says what to set. */
export function serverConfig(env: Environment): ServerConfig {
  // (As it stands in an address, an IPv6 one is in brackets; to listen on, it is not.)
  const host = env['HOST']?.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1'
  const secret = env['POSTBAG_SECRET'] || undefined
  const access: Access = secret ? tokenAccess(secret) : { kind: 'open' }
  refuseOpenDoor(access, host)
  return {
    access,
    host,
    port: wholeNumber(env, 'PORT', 8787, 0, 65_535),
    databaseUrl: address(env, 'DATABASE_URL'),
    directUrl: address(env, 'DATABASE_DIRECT_URL'),
    dataFolder: env['POSTBAG_DATA'] || '.postbag',
    maxConnections: wholeNumber(env, 'POSTBAG_MAX_CONNECTIONS', 10, 1, 1000),
    basePath: path(env, 'POSTBAG_BASE_PATH'),
    webhooks: webhookSettings(env),
  }
}

/** Undefined: no endpoints can be made. Reads POSTBAG_WEBHOOK_KEY, POSTBAG_WEBHOOK_ALLOW_PRIVATE and POSTBAG_WEBHOOK_PORTS.
 * @throws Error with a sentence that says what to set; nothing of what is set */
export function webhookSettings(env: Environment): WebhookSettings | undefined {
  const keys = env['POSTBAG_WEBHOOK_KEY']
  if (!keys) return undefined
  if (!keys.split(',').every((key) => /^[A-Za-z0-9+/]{43}=$/.test(key.trim()))) {
    throw new Error(
      'POSTBAG_WEBHOOK_KEY must be 32 random bytes as base64 (openssl rand -base64 32), or several, separated by commas',
    )
  }
  const ports = portsIn(env['POSTBAG_WEBHOOK_PORTS'])
  return { keys, allowPrivate: trueOrFalse(env, 'POSTBAG_WEBHOOK_ALLOW_PRIVATE'), ...(ports && { ports }) }
}

function portsIn(given: string | undefined): readonly number[] | undefined {
  if (!given) return undefined
  const ports = given.split(',').map(Number)
  if (ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535)) return ports
  throw new Error(`POSTBAG_WEBHOOK_PORTS must be ports between 1 and 65535, separated by commas, got ${given}`)
}

/** The same where no database can be embedded.
 * @throws Error with a sentence that says what to set. */
export function hostedConfig(env: Environment): ServerConfig & { readonly databaseUrl: string } {
  return { ...serverConfig(env), databaseUrl: databaseAddress(env) }
}

/** Configuration of a Supabase Edge Function: everybody reaches it, and its database is the project's (SUPABASE_DB_URL), unless DATABASE_URL
 * names another. It listens past the pooler, at the project's address, where that is the same database.
 * @throws Error with a sentence that says what to set. */
export function supabaseConfig(env: Environment): ServerConfig & { readonly databaseUrl: string } {
  const { SUPABASE_DB_URL, DATABASE_URL, DATABASE_DIRECT_URL } = env
  const isOfProject = !DATABASE_URL || placeOf(DATABASE_URL) === placeOf(SUPABASE_DB_URL)
  return hostedConfig({
    POSTBAG_BASE_PATH: '/postbag',
    POSTBAG_MAX_CONNECTIONS: '3',
    ...env,
    DATABASE_URL: DATABASE_URL || SUPABASE_DB_URL,
    DATABASE_DIRECT_URL: DATABASE_DIRECT_URL || (isOfProject ? SUPABASE_DB_URL : undefined),
    HOST: '0.0.0.0',
  })
}

/** Of a database, without the port: a pooler beside it has another. */
function placeOf(address = ''): string {
  if (!URL.canParse(address)) return address
  const { hostname, pathname } = new URL(address)
  return `${hostname}${pathname}`
}

/** Configuration of a function, which is always reachable from outside. Reads DATABASE_URL, DATABASE_DIRECT_URL,
 * POSTBAG_SECRET, POSTBAG_INVOKES_ITSELF, and the settings of webhooks.
 * @throws Error with a sentence that says what to set. */
export function functionConfig(env: Environment): FunctionConfig {
  return {
    databaseUrl: databaseAddress(env),
    directUrl: address(env, 'DATABASE_DIRECT_URL'),
    access: tokenAccess(env['POSTBAG_SECRET']),
    webhooks: webhookSettings(env),
    invokesItself: trueOrFalse(env, 'POSTBAG_INVOKES_ITSELF'),
  }
}

/** What is set of the hub of Workers. */
export interface HubVariables {
  /** The same database, past Hyperdrive: through that nothing listens. Without it, waiting receives look now and then. */
  readonly DATABASE_DIRECT_URL?: string
  /** Among how many objects the queues are divided, 1 – 1000. Defaults to 1. */
  readonly HUB_OBJECTS?: string
  /** How long the connection outlives the last waiter, in seconds. Defaults to 60. */
  readonly HUB_LINGER_SECONDS?: string
}

/** @throws Error with a sentence that says what to set. */
export function hubSettings({ DATABASE_DIRECT_URL, HUB_OBJECTS, HUB_LINGER_SECONDS }: HubVariables) {
  const env = { DATABASE_DIRECT_URL, HUB_OBJECTS, HUB_LINGER_SECONDS }
  return {
    directUrl: address(env, 'DATABASE_DIRECT_URL'),
    objects: wholeNumber(env, 'HUB_OBJECTS', 1, 1, 1000),
    lingerSeconds: wholeNumber(env, 'HUB_LINGER_SECONDS', 60, 0, 86_400),
  }
}

function databaseAddress(env: Environment): string {
  const given = address(env, 'DATABASE_URL')
  if (given === undefined) throw new Error('DATABASE_URL is not set: the address of your Postgres')
  return given
}

function address(env: Environment, name: string): string | undefined {
  const given = env[name]
  if (!given) return undefined
  refuseMark(name, given)
  // Not shown: it may hold a password.
  if (!isPostgres.test(given)) throw new Error(`${name} must be an address that begins with postgres://`)
  refuseUnreadable(name, given)
  return given
}

const isPostgres = /^postgres(ql)?:\/\//

/** An address that the driver would refuse without saying which, or take for another: that of a host called like the user, say.
 * @param name what it is called where it was given
 * @throws Error with a sentence that says what to write; nothing of what is given. */
export function refuseUnreadable(name: string, given: string): void {
  if (!isPostgres.test(given) || isReadable(given)) return
  throw new Error(
    `${name} cannot be read: it must be postgres://user:password@host:port/database, with what is special in the password ` +
      'percent-encoded: # as %23, / as %2F, ? as %3F, @ as %40, % as %25',
  )
}

/** An @ behind the host, unless a parameter has it as its value: then what was taken for the host is not. */
const lateAt = /^[^/]*\/\/[^/?]*[/?]([^?]*|[^=]*)@/

function isReadable(address: string): boolean {
  if (address.includes('#') || lateAt.test(address)) return false
  try {
    decodeURIComponent(address)
  } catch {
    return false
  }
  // (To the driver no host is this machine.)
  return URL.canParse(address.replace('@/', '@localhost/'))
}

/** Defaults to false. */
function trueOrFalse(env: Environment, name: string): boolean {
  const given = env[name] || 'false'
  if (given === 'true' || given === 'false') return given === 'true'
  throw new Error(`${name} must be true or false, got ${given}`)
}

function path(env: Environment, name: string): string | undefined {
  const given = env[name]
  if (!given || /^(\/[\w.~-]+)+$/.test(given)) return given || undefined
  throw new Error(`${name} must begin with a slash and not end with one, such as /postbag, got ${given}`)
}

function wholeNumber(env: Environment, name: string, byDefault: number, min: number, max: number): number {
  const given = env[name]
  if (!given) return byDefault
  // (To Number() blanks are 0, which as a port is any.)
  const value = /^\s*\d+\s*$/.test(given) ? Number(given) : Number.NaN
  if (value >= min && value <= max) return value
  const got = /^\s*$/.test(given) ? 'blanks' : given
  throw new Error(`${name} must be a whole number between ${min} and ${max}, got ${got}`)
}
