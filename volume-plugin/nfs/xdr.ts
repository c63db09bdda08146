/**
 * XDR, the bytes of ONC-RPC: big-endian words of four bytes, and everything padded to whole words. RFC 4506.
 */

const padding = (length: number): number => -length & 3;

/** Bytes that end too early or that cannot mean what they should. */
export class MalformedXdr extends Error {
  override readonly name = 'MalformedXdr';
}

/** Puts values one behind another. */
export class XdrWriter {
  readonly #parts: Buffer[] = [];

  /** All that was written. */
  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  u32(value: number): this {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(value);
    this.#parts.push(word);
    return this;
  }

  /** Bytes of a length that both sides know: 64-bit numbers, verifiers, ids of sessions. */
  fixed(value: Buffer): this {
    this.#parts.push(value, Buffer.alloc(padding(value.length)));
    return this;
  }

  /** Bytes behind their length. */
  opaque(value: Buffer): this {
    return this.u32(value.length).fixed(value);
  }

  /** In UTF-8. */
  text(value: string): this {
    return this.opaque(Buffer.from(value));
  }
}

/** Takes values one behind another. Each call throws MalformedXdr when there is no such value. */
export class XdrReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u32(): number {
    return this.fixed(4).readUInt32BE();
  }

  bool(): boolean {
    const value = this.u32();
    if (value > 1) throw new MalformedXdr(`${value} is neither true nor false`);
    return value === 1;
  }

  fixed(length: number): Buffer {
    const end = this.#at + length;
    if (end + padding(length) > this.#bytes.length) {
      throw new MalformedXdr(`${length} bytes were expected where ${this.#bytes.length - this.#at} are left`);
    }
    const value = this.#bytes.subarray(this.#at, end);
    this.#at = end + padding(length);
    return value;
  }

  /** At most `limit` bytes behind their length. */
  opaque(limit: number): Buffer {
    const length = this.u32();
    if (length > limit) throw new MalformedXdr(`a length of ${length} where ${limit} is the most`);
    return this.fixed(length);
  }

  text(limit: number): string {
    return this.opaque(limit).toString('utf8');
  }

  /** A list whose elements each stand behind a word that says that there is one more. */
  chain<T>(element: (reader: this) => T): T[] {
    const elements: T[] = [];
    while (this.bool()) elements.push(element(this));
    return elements;
  }
}
