/**
 * Whether the next write may be made on the spot. That saves the way to libuv's threads and back, several times what a
 * quick disk takes itself; but on a slow disk everybody else would wait, too. So a write is made on the spot only after
 * several quick ones in a row: a disk that is always slow is never waited for, one that becomes slow is waited for once.
 */
export class Pace {
  readonly #quickMs: number;
  readonly #inARow: number;
  #quick = 0;

  /** Writes of up to `quickMs` are quick; so many `inARow` come before one on the spot. */
  constructor(quickMs: number, inARow: number) {
    this.#quickMs = quickMs;
    this.#inARow = inARow;
  }

  /** May the next write be waited for by everybody? */
  get onTheSpot(): boolean {
    return this.#quick >= this.#inARow;
  }

  /** Tells how long a write took, in either way. */
  took(ms: number): void {
    this.#quick = ms <= this.#quickMs ? Math.min(this.#quick + 1, this.#inARow) : 0;
  }
}
