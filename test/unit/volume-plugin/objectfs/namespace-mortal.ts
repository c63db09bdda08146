import { Errno } from '../../../../volume-plugin/fuse/file-system.ts';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import type { StateLog, StateRecord } from '../../../../volume-plugin/objectfs/state-log.ts';

/** What a life of an engine may die at: each call of the store, before and after it, and each append to the log. */
export class Mortal {
  /** Steps that are left; undefined: it lives on. */
  left: number | undefined;
  steps = 0;
  isDead = false;
  /** Of the disk that the log is on. */
  isFull = false;
  readonly died = Promise.withResolvers<void>();

  /** Answers true when this is where it dies. */
  step(): boolean {
    this.steps += 1;
    if (this.left === undefined) return false;
    this.left -= 1;
    if (this.left < 0 && !this.isDead) {
      this.isDead = true;
      this.died.resolve();
    }
    return this.isDead;
  }
}

const never = new Promise<never>(() => undefined);

/** The calls of a store as a host makes them that may die, and how often each was made. */
export const storeOf = (store: ObjectStore, mortal: Mortal, calls: Map<string, number>): ObjectStore =>
  new Proxy(store, {
    get: (target, name, receiver) => {
      const value: unknown = Reflect.get(target, name, receiver === undefined ? target : target);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      return async (...parameters: unknown[]): Promise<unknown> => {
        if (mortal.isDead || mortal.step()) return await never;
        calls.set(name, (calls.get(name) ?? 0) + 1);
        const answer: unknown = await Reflect.apply(value, target, parameters);
        if (mortal.isDead || mortal.step()) return await never;
        return answer;
      };
    },
  });

export class MortalLog implements StateLog {
  readonly #log: StateLog;
  readonly #mortal: Mortal;

  constructor(log: StateLog, mortal: Mortal) {
    this.#log = log;
    this.#mortal = mortal;
  }

  left(...kinds: readonly string[]): readonly StateRecord[] {
    return this.#log.left(...kinds);
  }

  keeps(part: () => Iterable<StateRecord>): void {
    this.#log.keeps(part);
  }

  append(...records: readonly StateRecord[]): void {
    if (this.#mortal.isDead) throw new Error('killed');
    if (this.#mortal.isFull) throw new Errno('ENOSPC');
    this.#log.append(...records);
    if (this.#mortal.step()) throw new Error('killed');
  }

  sync(): Promise<void> {
    return this.#log.sync();
  }

  compact(): void {
    if (this.#mortal.isDead) throw new Error('killed');
    this.#log.compact();
  }

  get length(): number {
    return this.#log.length;
  }

  close(): void {
    this.#log.close();
  }
}

/** A store's methods, to be replaced one by one. */
export const bound = (store: ObjectStore): ObjectStore => {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(store)).map((name) => {
    const value: unknown = Reflect.get(store, name);
    return [name, typeof value === 'function' ? value.bind(store) : value];
  });
  return { ...store, ...Object.fromEntries(methods) };
};
