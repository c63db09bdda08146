import { now } from '../../shared/context.ts';
import type { HostFate } from './provider.ts';

/** So many times as long as it takes to be gone may pass between two looks: what was not seen long ago says nothing now. */
const LONGEST_GAP = 10;

/**
 * Hosts that a cloud does not show. What it shows is late: a new host is not there yet, and one answer may be older than
 * another. So a host is gone only when look after look has not found it, for a while.
 */
export class Absence {
  readonly #goneMs: number;
  readonly #clock: () => number;
  readonly #missed = new Map<string, { readonly since: number; readonly last: number }>();

  /** `goneMs`: how long a host must have been missed to be gone; `clock`: milliseconds, for tests. */
  constructor(goneMs: number, clock: () => number = now) {
    this.#goneMs = goneMs;
    this.#clock = clock;
  }

  /** A look has found it. */
  found(host: string): void {
    this.#missed.delete(host);
  }

  /** A look has not found it. */
  missed(host: string): Extract<HostFate, 'gone' | 'unknown'> {
    const at = this.#clock();
    const before = this.#missed.get(host);
    const since = before === undefined || at - before.last > LONGEST_GAP * this.#goneMs ? at : before.since;
    this.#missed.set(host, { since, last: at });
    return at - since >= this.#goneMs ? 'gone' : 'unknown';
  }
}
