/* A queue with groups in memory, for a model-based test: it says what may be handed out and what a receipt is worth, not which of the
 * messages that are free a receive must take.
 *
 * Steps come one after the other, but some stand in transactions that stay open meanwhile. What an open transaction changed is held by
 * it, and undone by its rollback. A message stands in its group in the order of commits. Times are milliseconds after the tests' zero. */
import assert from 'node:assert/strict'

export type Actor = number

export interface Entry {
  readonly id: string
  readonly group: string | null
  /** Counts commits and, within one, sends. Null: not committed. */
  order: number | null
  /** Within its transaction. */
  turn: number
  availableAt: number
  leasedUntil: number | null
  attempts: number
  /** Of its latest lease. */
  receipt: string
  /** Whether it was ever handed out, in a transaction that was not rolled back. */
  wasOut: boolean
  state: 'live' | 'dead' | 'gone'
  /** What it was before the open transaction that holds it changed it. */
  stateBefore: Entry['state']
  deadAt: number
  /** Whose open transaction sent it, or brought it back. */
  sentBy: Actor | null
  /** Whose open transaction changed it. */
  heldBy: Actor | null
  /** The step that changed it last, or committed the change. */
  changedAt: number
}

export interface Row {
  readonly id: string
  readonly attempts: number
  readonly leased_until: Date | null
  readonly is_dead: boolean
}

interface Transaction {
  undo: (() => void)[]
  /** How many there were to undo at the savepoint. */
  savepoint: number | null
  /** The step at which a snapshot for all of it was taken; null: it has none. */
  snapshotAt: number | null
}

export class GroupsModel {
  clock = 0
  step = 0
  readonly isOrdered: boolean
  readonly #entries: Entry[] = []
  readonly #open = new Map<Actor, Transaction>()
  #lastOrder = 0
  #lastTurn = 0

  constructor(isOrdered: boolean) {
    this.isOrdered = isOrdered
  }

  isOpen(actor: Actor): boolean {
    return this.#open.has(actor)
  }

  hasSnapshot(actor: Actor): boolean {
    return (this.#open.get(actor)?.snapshotAt ?? null) !== null
  }

  isAlone(actor: Actor): boolean {
    return [...this.#open.keys()].every((other) => other === actor)
  }

  begin(actor: Actor, withSnapshot: boolean): void {
    this.#open.set(actor, { undo: [], savepoint: null, snapshotAt: withSnapshot ? this.step : null })
  }

  savepoint(actor: Actor): void {
    const transaction = this.#open.get(actor)
    if (transaction) transaction.savepoint = transaction.undo.length
  }

  /** Whether there was a savepoint to roll back to. */
  rollbackToSavepoint(actor: Actor): boolean {
    const transaction = this.#open.get(actor)
    if (!transaction || transaction.savepoint === null) return false
    for (const undo of transaction.undo.splice(transaction.savepoint).reverse()) undo()
    return true
  }

  end(actor: Actor, how: 'commit' | 'rollback'): void {
    if (how === 'rollback') for (const undo of (this.#open.get(actor)?.undo ?? []).reverse()) undo()
    this.#open.delete(actor)
    const mine = this.#entries.filter((entry) => entry.sentBy === actor || entry.heldBy === actor)
    for (const entry of mine.sort((a, b) => a.turn - b.turn)) {
      if (entry.sentBy === actor) entry.order = ++this.#lastOrder
      entry.sentBy = entry.heldBy = null
      entry.changedAt = this.step
    }
  }

  send(actor: Actor, parcels: readonly { group: string | null; delaySeconds: number }[], ids: readonly string[]): void {
    for (const [index, { group, delaySeconds }] of parcels.entries()) {
      const entry: Entry = {
        id: ids[index] as string,
        group,
        order: null,
        turn: 0,
        availableAt: this.clock + delaySeconds * 1000,
        leasedUntil: null,
        attempts: 0,
        receipt: '',
        wasOut: false,
        state: 'gone',
        stateBefore: 'gone',
        deadAt: 0,
        sentBy: null,
        heldBy: null,
        changedAt: this.step,
      }
      this.#entries.push(entry)
      this.#join(actor, entry, { state: 'live' })
    }
  }

  /** Check that all this may be handed out, and hand it out. */
  receive(actor: Actor, got: readonly { id: string; receipt: string; attempts: number }[], leaseMillis: number): void {
    const taken = got.map(({ id }) => this.#entry(id))
    assert.equal(new Set(taken).size, taken.length, 'nothing twice')
    for (const entry of taken) {
      assert.ok(this.#isInReach(actor, entry), `${entry.id} is of another transaction`)
      assert.equal(entry.state, 'live', `${entry.id} is gone`)
      assert.ok(entry.availableAt <= this.clock, `${entry.id} is not due`)
      assert.ok((entry.leasedUntil ?? 0) <= this.clock, `${entry.id} is leased`)
    }
    if (this.isOrdered)
      for (const group of new Set(taken.flatMap((entry) => entry.group ?? []))) {
        const mine = taken.filter((entry) => entry.group === group)
        const line = this.#line(actor, group)
        assert.deepEqual(
          mine.map((entry) => entry.id),
          line.slice(0, mine.length).map((entry) => entry.id),
          `the order of group ${group}`,
        )
        if ((mine[0] as Entry).attempts > 0) this.#release(actor, mine[0] as Entry)
      }
    for (const [index, entry] of taken.entries()) {
      const { receipt, attempts } = got[index] as { receipt: string; attempts: number }
      assert.ok(this.#entries.every((other) => other.receipt !== receipt))
      assert.equal(attempts, entry.attempts + 1, `attempts of ${entry.id}`)
      this.#change(actor, entry, { attempts, receipt, wasOut: true, leasedUntil: this.clock + leaseMillis })
    }
  }

  /**
   * The outcome that a receipt must have; what it says is done. Null: another transaction holds the message, so it is not 'ok'.
   * `kept` are the groups that this call has extended before.
   */
  settle(
    actor: Actor,
    verb: 'ack' | 'nack' | 'reject' | 'extend',
    receipt: string,
    millis: number,
    kept: Set<string>,
  ): string | null {
    const entry = this.#entryOf(receipt)
    if (!this.#isInReach(actor, entry)) return null
    if (entry.state === 'gone') return 'message_gone'
    if (entry.receipt !== receipt || entry.leasedUntil === null) return 'lease_lost'
    const until = this.clock + millis
    const isKept = entry.group !== null && kept.has(entry.group) && entry.leasedUntil === until
    if (verb === 'extend' && entry.leasedUntil <= this.clock && !isKept) return 'lease_expired'
    if (verb === 'ack') this.#change(actor, entry, { state: 'gone' })
    if (verb === 'reject') this.#change(actor, entry, { state: 'dead', leasedUntil: null, deadAt: this.clock })
    if (verb === 'nack') this.#change(actor, entry, { leasedUntil: null, availableAt: until })
    if (verb === 'extend') {
      for (const one of [entry, ...this.#companions(actor, entry)]) this.#change(actor, one, { leasedUntil: until })
      if (this.isOrdered && entry.group !== null) kept.add(entry.group)
    }
    return 'ok'
  }

  /** After all receipts of a nack: those behind the first that was given back are given back, too. */
  giveBackFollowers(actor: Actor, receipts: readonly string[]): void {
    if (this.isOrdered) for (const receipt of receipts) this.#release(actor, this.#entryOf(receipt))
  }

  /** A purge left these to this actor's eyes; how many it deleted. */
  purge(actor: Actor, left: ReadonlySet<string>): number {
    const doomed = this.#entries.filter(
      (entry) => entry.state !== 'gone' && this.#isInReach(actor, entry) && !left.has(entry.id),
    )
    for (const entry of doomed) this.#change(actor, entry, { state: 'gone' })
    return doomed.length
  }

  /** A redrive left these dead to this actor's eyes; how many it brought back. */
  redrive(actor: Actor, left: ReadonlySet<string>): number {
    const back = this.#entries
      .filter((entry) => entry.state === 'dead' && this.#isInReach(actor, entry) && !left.has(entry.id))
      .sort((a, b) => a.deadAt - b.deadAt || Number(a.id) - Number(b.id))
    for (const entry of back)
      this.#join(actor, entry, { state: 'live', attempts: 0, receipt: '', availableAt: this.clock })
    return back.length
  }

  /** Whether a transaction with a snapshot cannot see this receipt's message as it is. */
  isUnseen(actor: Actor, receipt: string): boolean {
    const snapshotAt = this.#open.get(actor)?.snapshotAt ?? null
    const entry = this.#entryOf(receipt)
    return snapshotAt !== null && entry.changedAt > snapshotAt && entry.heldBy !== actor
  }

  /** What is there for all to see must be so. */
  compare(rows: readonly Row[], toDate: (millis: number) => Date): void {
    const there = new Map(rows.map((row) => [row.id, row]))
    for (const entry of this.#entries.filter(({ sentBy, heldBy }) => sentBy === null && heldBy === null)) {
      const row = there.get(entry.id)
      assert.deepEqual(
        row && { id: row.id, attempts: row.attempts, leased_until: row.leased_until, is_dead: row.is_dead },
        entry.state === 'gone'
          ? undefined
          : {
              id: entry.id,
              attempts: entry.attempts,
              leased_until: entry.leasedUntil === null ? null : toDate(entry.leasedUntil),
              is_dead: entry.state === 'dead',
            },
      )
    }
  }

  /** All messages that can still be handed out, when no transaction is open: those of each group in their order. */
  remaining(): readonly Entry[] {
    return this.#entries
      .filter((entry) => entry.state === 'live')
      .sort((a, b) => (a.order as number) - (b.order as number))
  }

  #entry(id: string): Entry {
    return this.#entries.findLast((entry) => entry.id === id) as Entry
  }

  #entryOf(receipt: string): Entry {
    return this.#entry(receipt.split('.')[0] as string)
  }

  #isInReach(actor: Actor, entry: Entry): boolean {
    return (entry.heldBy ?? actor) === actor && (entry.sentBy ?? actor) === actor
  }

  /** The group as the actor's transaction must see it: what others hold is what it was before. */
  #line(actor: Actor, group: string): (Entry & { order: number })[] {
    return this.#entries
      .filter((entry): entry is Entry & { order: number } => entry.group === group && entry.order !== null)
      .filter((entry) => ((entry.heldBy ?? actor) === actor ? entry.state : entry.stateBefore) === 'live')
      .sort((a, b) => a.order - b.order)
  }

  /** Those behind this one that were handed out are given back. */
  #release(actor: Actor, head: Entry): void {
    if (head.group === null || head.order === null) return
    for (const entry of this.#line(actor, head.group)) {
      if (entry.order <= head.order || !this.#isInReach(actor, entry)) continue
      if (!entry.wasOut) break
      if (entry.leasedUntil !== null) this.#change(actor, entry, { leasedUntil: null, attempts: entry.attempts - 1 })
    }
  }

  /** Taken from the same group under the same lease. */
  #companions(actor: Actor, kept: Entry): Entry[] {
    if (!this.isOrdered || kept.group === null) return []
    const key = (receipt: string) => receipt.split('.')[2]
    return this.#line(actor, kept.group).filter(
      (entry) =>
        entry !== kept &&
        this.#isInReach(actor, entry) &&
        entry.leasedUntil !== null &&
        key(entry.receipt) === key(kept.receipt),
    )
  }

  /** It stands in line from the end of the transaction on. */
  #join(actor: Actor, entry: Entry, change: Partial<Entry>): void {
    const isOpen = this.isOpen(actor)
    this.#change(actor, entry, {
      ...change,
      turn: ++this.#lastTurn,
      order: isOpen ? null : ++this.#lastOrder,
      sentBy: isOpen ? actor : null,
    })
  }

  #change(actor: Actor, entry: Entry, change: Partial<Entry>): void {
    const before = { ...entry }
    this.#open.get(actor)?.undo.push(() => Object.assign(entry, before))
    const hold = this.isOpen(actor) && { heldBy: actor, ...(entry.heldBy === null && { stateBefore: before.state }) }
    Object.assign(entry, change, { changedAt: this.step }, hold)
  }
}
