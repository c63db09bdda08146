/** Bytes from `start` up to, and without, `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A set of bytes, kept as spans in their order that neither meet nor touch. */
export class Ranges {
  #starts: number[] = [];
  #ends: number[] = [];
  #bytes = 0;

  static of(spans: Iterable<Span>): Ranges {
    const made = new Ranges();
    for (const { start, end } of spans) made.add(start, end);
    return made;
  }

  /** How many bytes are in it. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#starts.length;
  }

  /** Behind the last byte; 0 when it is empty. */
  get end(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** Up to here, from 0, there is no gap. */
  get prefix(): number {
    return this.#starts[0] === 0 ? (this.#ends[0] ?? 0) : 0;
  }

  *[Symbol.iterator](): Generator<Span> {
    for (let i = 0; i < this.#starts.length; i += 1) yield { start: this.#starts[i] ?? 0, end: this.#ends[i] ?? 0 };
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    // Writes in sequence: the usual case, without moving anything.
    const last = this.#ends.length - 1;
    const lastEnd = this.#ends[last] ?? -1;
    if (start === lastEnd) {
      this.#ends[last] = end;
      this.#bytes += end - start;
      return;
    }
    if (start > lastEnd) {
      this.#starts.push(start);
      this.#ends.push(end);
      this.#bytes += end - start;
      return;
    }
    // Spans that touch become one.
    const first = this.#firstEndingAtOrAfter(start);
    let after = first;
    let from = start;
    let to = end;
    let had = 0;
    while (after < this.#starts.length && (this.#starts[after] ?? 0) <= end) {
      const oneStart = this.#starts[after] ?? 0;
      const oneEnd = this.#ends[after] ?? 0;
      from = Math.min(from, oneStart);
      to = Math.max(to, oneEnd);
      had += oneEnd - oneStart;
      after += 1;
    }
    if (after === first + 1) {
      this.#starts[first] = from;
      this.#ends[first] = to;
    } else {
      this.#starts.splice(first, after - first, from);
      this.#ends.splice(first, after - first, to);
    }
    this.#bytes += to - from - had;
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    const first = this.#firstEndingAtOrAfter(start + 1);
    let after = first;
    const starts: number[] = [];
    const ends: number[] = [];
    while (after < this.#starts.length && (this.#starts[after] ?? 0) < end) {
      const oneStart = this.#starts[after] ?? 0;
      const oneEnd = this.#ends[after] ?? 0;
      this.#bytes -= Math.min(oneEnd, end) - Math.max(oneStart, start);
      if (oneStart < start) {
        starts.push(oneStart);
        ends.push(start);
      }
      if (oneEnd > end) {
        starts.push(end);
        ends.push(oneEnd);
      }
      after += 1;
    }
    if (after === first) return;
    this.#starts.splice(first, after - first, ...starts);
    this.#ends.splice(first, after - first, ...ends);
  }

  /** Are all of these bytes in it? */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const at = this.#firstEndingAtOrAfter(start + 1);
    return at < this.#starts.length && (this.#starts[at] ?? 0) <= start && (this.#ends[at] ?? 0) >= end;
  }

  /** Is any of these bytes in it? */
  meets(start: number, end: number): boolean {
    if (start >= end) return false;
    const at = this.#firstEndingAtOrAfter(start + 1);
    return at < this.#starts.length && (this.#starts[at] ?? 0) < end;
  }

  /** The bytes between `start` and `end` in their order: pieces that are in it, and pieces that are not. */
  *pieces(start: number, end: number): Generator<Span & { readonly inside: boolean }> {
    let at = start;
    for (let i = this.#firstEndingAtOrAfter(start + 1); at < end && i < this.#starts.length; i += 1) {
      const from = Math.max(this.#starts[i] ?? 0, start);
      const to = Math.min(this.#ends[i] ?? 0, end);
      if (from >= end) break;
      if (from > at) yield { start: at, end: from, inside: false };
      yield { start: from, end: to, inside: true };
      at = to;
    }
    if (at < end) yield { start: at, end, inside: false };
  }

  clear(): void {
    this.#starts = [];
    this.#ends = [];
    this.#bytes = 0;
  }

  /** Index of the first span whose end is at or behind `at`. */
  #firstEndingAtOrAfter(at: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
