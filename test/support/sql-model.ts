/* A queue in memory that says what the one in Postgres must do: for a model-based test, which does everything to both.
 *
 * Steps come one after the other, but some stand in transactions that stay open meanwhile. What an open transaction has touched is
 * held by it: nobody else receives or purges it, and a step that would wait for it is left out (`isHeld`, `isKeyHeld`). What it did
 * is undone by a rollback, and seen by others after a commit. Times are milliseconds after the tests' zero. */
import assert from 'node:assert/strict'

export type Actor = number

export interface Entry {
  readonly id: string
  readonly body: number
  readonly priority: number
  availableAt: number
  leasedUntil: number | null
  attempts: number
  /** Of its latest lease. */
  receipt: string
  gone: boolean
  /** Whose open transaction sent it. */
  sentBy: Actor | null
  /** Whose open transaction changed it. */
  heldBy: Actor | null
}

interface Key {
  id: string
  expiresAt: number
  heldBy: Actor | null
}

export interface Parcel {
  readonly body: number
  readonly priority: number
  readonly delaySeconds: number
  readonly dedupId: string | undefined
}

export interface Sent {
  readonly id: string
  readonly duplicate: boolean
}

export class QueueModel {
  clock = 0
  readonly #dedupWindow: number
  /** In the order of their ids. */
  readonly #entries: Entry[] = []
  readonly #keys = new Map<string, Key>()
  /** Of each open transaction, what undoes it, the first step first. */
  readonly #undo = new Map<Actor, (() => void)[]>()

  constructor(dedupWindow: number) {
    this.#dedupWindow = dedupWindow
  }

  isOpen(actor: Actor): boolean {
    return this.#undo.has(actor)
  }

  begin(actor: Actor): void {
    this.#undo.set(actor, [])
  }

  end(actor: Actor, how: 'commit' | 'rollback'): void {
    const undo = this.#undo.get(actor) ?? []
    this.#undo.delete(actor)
    if (how === 'rollback') for (const step of undo.reverse()) step()
    for (const entry of this.#entries) {
      if (entry.sentBy === actor) entry.sentBy = null
      if (entry.heldBy === actor) entry.heldBy = null
    }
    for (const key of this.#keys.values()) if (key.heldBy === actor) key.heldBy = null
  }

  /** Check what a send gave back, and remember it. */
  send(actor: Actor, parcels: readonly Parcel[], sent: readonly Sent[]): void {
    assert.equal(sent.length, parcels.length)
    for (const [index, parcel] of parcels.entries()) {
      const { id, duplicate } = sent[index] as Sent
      const known = parcel.dedupId === undefined ? undefined : this.#keys.get(parcel.dedupId)
      const isDuplicate = known !== undefined && known.expiresAt > this.clock
      assert.equal(duplicate, isDuplicate, `duplicate of ${parcel.dedupId}`)
      if (parcel.dedupId !== undefined)
        this.#useKey(actor, parcel.dedupId, isDuplicate ? known : { id, expiresAt: this.clock + this.#dedupWindow })
      if (isDuplicate) {
        assert.equal(id, known.id)
        continue
      }
      assert.ok(Number(id) > Number(this.#entries.at(-1)?.id ?? 0), 'ids rise')
      const entry: Entry = {
        id,
        body: parcel.body,
        priority: parcel.priority,
        availableAt: this.clock + parcel.delaySeconds * 1000,
        leasedUntil: null,
        attempts: 0,
        receipt: '',
        gone: false,
        sentBy: this.isOpen(actor) ? actor : null,
        heldBy: null,
      }
      this.#entries.push(entry)
      this.#undo.get(actor)?.push(() => {
        entry.gone = true
      })
    }
  }

  /** What a receive by this actor may take, in the order in which it takes it. */
  receivable(actor: Actor): Entry[] {
    return this.#entries
      .filter((entry) => this.#isInReach(actor, entry))
      .filter((entry) => entry.availableAt <= this.clock && (entry.leasedUntil ?? 0) <= this.clock)
      .sort((a, b) => b.priority - a.priority || a.availableAt - b.availableAt || Number(a.id) - Number(b.id))
  }

  receive(actor: Actor, entry: Entry, leaseSeconds: number, receipt: string): void {
    assert.ok(this.#entries.every((other) => other.receipt !== receipt))
    this.#change(actor, entry, { attempts: entry.attempts + 1, leasedUntil: this.clock + leaseSeconds * 1000, receipt })
  }

  /** The outcome that a receipt must have; what it says is done. */
  settle(actor: Actor, verb: 'ack' | 'nack' | 'extend', receipt: string, seconds: number): string {
    const entry = this.#entryOf(receipt)
    if (!entry || entry.gone) return 'message_gone'
    if (entry.receipt !== receipt || entry.leasedUntil === null) return 'lease_lost'
    if (verb === 'extend' && entry.leasedUntil <= this.clock) return 'lease_expired'
    const until = this.clock + seconds * 1000
    this.#change(
      actor,
      entry,
      verb === 'ack'
        ? { gone: true }
        : verb === 'nack'
          ? { leasedUntil: null, availableAt: until }
          : { leasedUntil: until },
    )
    return 'ok'
  }

  /** How many messages a purge by this actor must delete; they are gone. */
  purge(actor: Actor): number {
    const doomed = this.#entries.filter((entry) => this.#isInReach(actor, entry))
    for (const entry of doomed) this.#change(actor, entry, { gone: true })
    return doomed.length
  }

  /** Whether a step of the actor on this receipt's message would wait for somebody else, or act on what it cannot see. */
  isHeld(actor: Actor, receipt: string): boolean {
    const entry = this.#entryOf(receipt)
    return entry !== undefined && !((entry.heldBy ?? actor) === actor && (entry.sentBy ?? actor) === actor)
  }

  isKeyHeld(actor: Actor, dedupId: string): boolean {
    return (this.#keys.get(dedupId)?.heldBy ?? actor) !== actor
  }

  /** All messages, when no transaction is open. */
  remaining(): readonly Entry[] {
    return this.#entries.filter((entry) => !entry.gone)
  }

  #entryOf(receipt: string): Entry | undefined {
    return this.#entries.find((entry) => receipt.startsWith(`${entry.id}.`))
  }

  #isInReach(actor: Actor, entry: Entry): boolean {
    return !entry.gone && (entry.heldBy ?? actor) === actor && (entry.sentBy ?? actor) === actor
  }

  #change(actor: Actor, entry: Entry, change: Partial<Entry>): void {
    const before = { ...entry }
    this.#undo.get(actor)?.push(() => Object.assign(entry, before))
    Object.assign(entry, change, this.isOpen(actor) && { heldBy: actor })
  }

  #useKey(actor: Actor, dedupId: string, { id, expiresAt }: Omit<Key, 'heldBy'>): void {
    const before = this.#keys.get(dedupId)
    this.#undo.get(actor)?.push(() => (before ? this.#keys.set(dedupId, before) : this.#keys.delete(dedupId)))
    this.#keys.set(dedupId, { id, expiresAt, heldBy: this.isOpen(actor) ? actor : null })
  }
}
