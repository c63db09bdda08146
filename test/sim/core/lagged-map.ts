/** Eventual consistency: writers see the truth, readers see what was true a while ago. */
import type { Clock } from './clock.ts';

interface Version<V> {
  readonly at: number;
  /** Undefined: deleted. */
  readonly value: V | undefined;
}

/**
 * A map whose writes become visible to `visible` after `lag()` milliseconds. Values must not be changed in place: set a
 * new one. With a lag of 0 both views are one.
 */
export class LaggedMap<V> {
  readonly #clock: Clock;
  readonly #lag: () => number;
  readonly #versions = new Map<string, Version<V>[]>();

  constructor(clock: Clock, lag: () => number) {
    this.#clock = clock;
    this.#lag = lag;
  }

  /** The truth: what writes check against. */
  get(key: string): V | undefined {
    return this.#versions.get(key)?.at(-1)?.value;
  }

  set(key: string, value: V): void {
    this.#write(key, value);
  }

  /** Sets a value that differs in these parts. Answers it; undefined when there was none. */
  change(key: string, changes: Partial<V>): V | undefined {
    const known = this.get(key);
    if (known === undefined) return undefined;
    const changed = { ...known, ...changes };
    this.#write(key, changed);
    return changed;
  }

  /** False when there was none. */
  delete(key: string): boolean {
    if (this.get(key) === undefined) return false;
    this.#write(key, undefined);
    return true;
  }

  /** The truth, in the order in which keys were first set. */
  entries(): [string, V][] {
    return this.#view((versions) => versions.at(-1));
  }

  /** What a reader gets now. */
  visible(): [string, V][] {
    const horizon = this.#clock.now() - this.#lag();
    return this.#view((versions) => versions.findLast(({ at }) => at <= horizon));
  }

  /** What a reader gets now for one key. */
  seen(key: string): V | undefined {
    const horizon = this.#clock.now() - this.#lag();
    return this.#versions.get(key)?.findLast(({ at }) => at <= horizon)?.value;
  }

  #write(key: string, value: V | undefined): void {
    const now = this.#clock.now();
    const horizon = now - this.#lag();
    const versions = this.#versions.get(key) ?? [];
    // What no reader can see any more goes: all before the newest that is old enough.
    const oldest = versions.findLastIndex(({ at }) => at <= horizon);
    this.#versions.set(key, [...versions.slice(Math.max(0, oldest)), { at: now, value }]);
  }

  #view(pick: (versions: readonly Version<V>[]) => Version<V> | undefined): [string, V][] {
    const view: [string, V][] = [];
    for (const [key, versions] of this.#versions) {
      const value = pick(versions)?.value;
      if (value !== undefined) view.push([key, value]);
    }
    return view;
  }
}
