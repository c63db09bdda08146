/**
 * What a plugin remembers: named collections of plain JSON records by id. `S` maps each collection's name to its
 * record's type.
 */

/** The view inside an `update`: it sees its own changes. */
export interface Transaction<S> {
  get<K extends keyof S & string>(collection: K, id: string): S[K] | undefined;
  all<K extends keyof S & string>(collection: K): ReadonlyMap<string, S[K]>;
  put<K extends keyof S & string>(collection: K, id: string, record: S[K]): void;
  /** Deleting what is not there changes nothing. */
  delete<K extends keyof S & string>(collection: K, id: string): void;
}

/**
 * How long a change must last. `disk`: whatever happens. `kernel`: as long as this kernel runs, also when the plugin is
 * killed: for what has no effect but in the kernel, and means nothing once the machine has stopped.
 */
export type Lasting = 'disk' | 'kernel';

export interface StateStore<S> {
  get<K extends keyof S & string>(collection: K, id: string): S[K] | undefined;
  /** A live view: it changes with later updates. Copy it (`[...all('x')]`) before waiting inside a loop. */
  all<K extends keyof S & string>(collection: K): ReadonlyMap<string, S[K]>;
  /**
   * Runs `change` at once, synchronously; a change that throws changes nothing (and the promise rejects with what it
   * threw). Readers see the result at once; the promise resolves when it lasts (on the `disk` unless told). When it
   * cannot be made to, it rejects with STATE_WRITE, and this change and those made after it are taken back.
   */
  update<R>(change: (tx: Transaction<S>) => R, lasting?: Lasting): Promise<R>;
  /**
   * The same for what a crash may forget, because it can be found out again: readers see the result at once, the next
   * update takes it along to the disk or else it gets there within a moment. When it cannot be written it is taken back
   * with a line in the log. Throws what `change` throws, and STATE_WRITE when the store is closed.
   */
  soon(change: (tx: Transaction<S>) => void): void;
  close(): Promise<void>;
}

/** One change as it is written to a journal; no record: deleted. */
export interface Change {
  readonly collection: string;
  readonly id: string;
  readonly record?: unknown;
}

/** A change together with what was there before. */
export interface AppliedChange extends Change {
  readonly before?: unknown;
}

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
};

/** The records in memory, and the transactions on them: what the stores have in common. */
export class Records<S> {
  readonly #collections = new Map<string, Map<string, unknown>>();

  collection<K extends keyof S & string>(name: K): Map<string, S[K]> {
    const found = this.#collections.get(name) ?? new Map<string, unknown>();
    this.#collections.set(name, found);
    return found as Map<string, S[K]>;
  }

  /** Puts or deletes; `record` is kept as it is, and frozen. */
  apply(change: Change): void {
    const records = this.collection(change.collection as keyof S & string) as Map<string, unknown>;
    if (change.record === undefined) records.delete(change.id);
    else records.set(change.id, freeze(change.record));
  }

  /** Takes changes back, the last one first. The order of iteration in a collection may differ afterwards. */
  revert(changes: readonly AppliedChange[]): void {
    for (const change of changes.toReversed()) {
      this.apply({ collection: change.collection, id: change.id, record: change.before });
    }
  }

  /** Runs a change all or nothing, and says what it did. */
  transact<R>(change: (tx: Transaction<S>) => R): { readonly result: R; readonly changes: readonly AppliedChange[] } {
    const changes: AppliedChange[] = [];
    let open = true;
    const write = (collection: keyof S & string, id: string, record: unknown): void => {
      if (!open) throw new Error('a transaction was used after its update had ended');
      const before = this.collection(collection).get(id);
      if (record === undefined && before === undefined) return;
      const applied = { collection, id, record, before };
      this.apply(applied);
      changes.push(applied);
    };
    const tx: Transaction<S> = {
      get: (collection, id) => this.collection(collection).get(id),
      all: (collection) => this.collection(collection),
      put: (collection, id, record) => {
        // A copy, exactly as it would be read back: later changes of the caller's object cannot reach the store.
        const copy: unknown = JSON.parse(JSON.stringify(record) ?? 'null');
        if (copy === null || typeof copy !== 'object')
          throw new TypeError(`a record of ${collection} must be an object`);
        write(collection, id, copy);
      },
      delete: (collection, id) => write(collection, id, undefined),
    };
    try {
      const result = change(tx);
      if (result instanceof Promise) throw new TypeError('a change of the state must be synchronous');
      return { result, changes };
    } catch (error) {
      this.revert(changes);
      throw error;
    } finally {
      open = false;
    }
  }
}

/** Forgets everything when the process ends: for tests and dry runs. */
export class MemoryStore<S> implements StateStore<S> {
  readonly #records = new Records<S>();

  get<K extends keyof S & string>(collection: K, id: string): S[K] | undefined {
    return this.#records.collection(collection).get(id);
  }

  all<K extends keyof S & string>(collection: K): ReadonlyMap<string, S[K]> {
    return this.#records.collection(collection);
  }

  async update<R>(change: (tx: Transaction<S>) => R): Promise<R> {
    return this.#records.transact(change).result;
  }

  soon(change: (tx: Transaction<S>) => void): void {
    this.#records.transact(change);
  }

  async close(): Promise<void> {
    return undefined;
  }
}
