/** What has been seen of another host's lease. */
export interface Watched {
  /** Milliseconds for which its holder gave no sign of life while this host watched. */
  readonly stillMs: number;
  /** It has given one while this host watched. */
  readonly moved: boolean;
}

/** A look at a lease. */
export interface Look {
  /** Which lease it is, and the last sign of life of its holder. */
  readonly token: string;
  readonly sign: string;
  /** When the look began, and when it was over, on this host's own clock. */
  readonly began: number;
  readonly ended: number;
}

interface Seen {
  readonly last: Look;
  /** The end of the first look that showed the same. */
  readonly since: number;
  readonly moved: boolean;
}

/**
 * Watches leases stand still, on this host's own clock. What a look shows is as old as its end at least, and as new as
 * its beginning: the time between the end of the first look and the beginning of the last one counts, and only while
 * there was no long time without one.
 */
export class LeaseWatch {
  readonly #gapMs: number;
  readonly #seen = new Map<string, Seen>();

  constructor(gapMs: number) {
    this.#gapMs = gapMs;
  }

  see(volume: string, look: Look): Watched {
    const before = this.#seen.get(volume);
    const goesOn =
      before !== undefined && before.last.token === look.token && look.began - before.last.ended <= this.#gapMs;
    const same = goesOn && before.last.sign === look.sign;
    const since = same ? before.since : look.ended;
    const moved = goesOn && (before.moved || !same);
    this.#seen.set(volume, { last: look, since, moved });
    return { stillMs: same ? Math.max(0, look.began - since) : 0, moved };
  }

  /** Begins anew with the next look. */
  forget(volume: string): void {
    this.#seen.delete(volume);
  }
}
