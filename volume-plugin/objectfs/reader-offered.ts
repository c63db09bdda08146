import type { Base } from './content.ts';

/** Bytes of memory. */
const MOST = 8 * 1024 * 1024;

/** Small objects whose bytes have come along with a look at them, until they are read. */
export class Offered {
  readonly #objects = new Map<string, readonly Buffer[]>();
  #bytes = 0;

  has(base: Base): boolean {
    return this.#objects.has(nameOf(base));
  }

  add(base: Base, data: readonly Buffer[]): void {
    const name = nameOf(base);
    if (this.#objects.has(name) || base.size > MOST / 4) return;
    this.#objects.set(name, data);
    this.#bytes += base.size;
    for (const [old, buffers] of this.#objects) {
      if (this.#bytes <= MOST) return;
      this.#objects.delete(old);
      this.#bytes -= buffers.reduce((sum, one) => sum + one.length, 0);
    }
  }

  find(base: Base): readonly Buffer[] | undefined {
    return this.#objects.get(nameOf(base));
  }
}

const nameOf = ({ key, etag, size }: Base): string => `${key}\0${etag}\0${size}`;

/** Bytes of buffers that follow one another. */
export const copyFrom = (buffers: readonly Buffer[], offset: number, into: Buffer): void => {
  let at = 0;
  for (const one of buffers) {
    const from = Math.max(0, offset - at);
    if (from < one.length && at < offset + into.length) one.copy(into, at + from - offset, from);
    at += one.length;
  }
};
