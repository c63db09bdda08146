/** How reads of a file follow one another. */

const KIB = 1024;
const MIB = 1024 * KIB;
/** Programs and the kernel (8 MiB) read ahead in several pieces, which come in any order. */
const SLACK = 8 * MIB;
const STREAMS = 8;

export interface PrefetchSizes {
  /** What is fetched for a read that follows no other. */
  readonly random: number;
  /** What is fetched first for a reader that begins at the beginning. */
  readonly first: number;
  /** The largest piece. */
  readonly most: number;
  /** Pieces ahead of a reader. */
  readonly window: number;
}

export const PREFETCH: PrefetchSizes = { random: 128 * KIB, first: 256 * KIB, most: 4 * MIB, window: 16 };

/** Reads that go on where the one before has ended. */
export interface Stream {
  /** Where the next one is expected. */
  next: number;
  /** Bytes that were read in sequence. */
  run: number;
  /** Up to here everything was asked for. */
  ahead: number;
  /** Of the next piece. */
  size: number;
  /** Pieces ahead. */
  window: number;
}

/** Tells streams from random reads. */
export class Streams {
  readonly #sizes: PrefetchSizes;
  /** The least recently used first. */
  #known: Stream[] = [];

  constructor(sizes: PrefetchSizes) {
    this.#sizes = sizes;
  }

  /** The stream that a read belongs to, brought up to date; undefined: it follows no other. */
  take(start: number, end: number): Stream | undefined {
    const at = this.#known.findIndex(({ next, run }) => {
      const slack = Math.min(SLACK, run);
      return start >= next - slack && start <= next + slack;
    });
    const known = this.#known[at];
    if (known !== undefined) {
      known.run += Math.max(0, end - known.next);
      known.next = Math.max(known.next, end);
      this.#known.splice(at, 1);
      this.#known.push(known);
      return known;
    }
    const begun: Stream = { next: end, run: end - start, ahead: end, size: this.#sizes.first, window: 1 };
    if (this.#known.length >= STREAMS) this.#known.shift();
    this.#known.push(begun);
    // Who begins at the beginning mostly goes on.
    if (start !== 0) return undefined;
    begun.ahead = 0;
    return begun;
  }

  /** The reader has come further: larger pieces, and more of them. */
  grow(stream: Stream): void {
    stream.size = Math.min(this.#sizes.most, stream.size * 2);
    stream.window = Math.min(this.#sizes.window, Math.max(2, stream.window * 2));
  }

  /** Behind here nobody reads any more. */
  get behind(): number {
    return this.#known.reduce((least, { next }) => Math.min(least, next - SLACK), Number.POSITIVE_INFINITY);
  }

  follows(end: number): boolean {
    return this.#known.some(({ next, ahead }) => end > next - SLACK && end <= ahead);
  }
}
