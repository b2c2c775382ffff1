/* What we use of the module that Cloudflare's runtime brings: its own types would come with a second set of web types. */
declare module 'cloudflare:workers' {
  /** A class of objects of which there is one per name in the whole world; its methods can be called from Workers. */
  export abstract class DurableObject<Env = unknown> {
    protected readonly ctx: {
      abort(reason?: string): void
      /** Times are milliseconds since 1970. */
      readonly storage: { getAlarm(): Promise<number | null>; setAlarm(time: number): Promise<void> }
    }
    protected readonly env: Env
    constructor(ctx: DurableObject['ctx'], env: Env)
  }
  /** What may be handed to a caller without being copied: its methods stay here. */
  export abstract class RpcTarget {}
}
