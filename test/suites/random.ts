/** Random numbers that are the same for the same seed: mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 (with) to 1 (without). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = this.#state;
    value = Math.imul(value ^ (value >>> 15), value | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** Whole, from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** Bytes that tell, when they turn up elsewhere, where they belong. */
  fill(target: Buffer): void {
    let at = 0;
    for (; at + 4 <= target.length; at += 4) target.writeUInt32LE(Math.floor(this.next() * 0x1_0000_0000), at);
    for (; at < target.length; at += 1) target[at] = this.below(256);
  }
}

/** Such numbers one after the other. */
export const randomOf = (seed: number): (() => number) => {
  const random = new Random(seed);
  return () => random.next();
};
