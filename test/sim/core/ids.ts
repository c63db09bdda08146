/** Identifiers that look like the clouds' and repeat from run to run. */
import { createHash } from 'node:crypto';

export class Ids {
  readonly #seed: string;
  #count = 0;

  constructor(seed = 'drayage') {
    this.#seed = seed;
  }

  /** So many hexadecimal digits, never given before by this object. */
  hex(digits: number): string {
    this.#count += 1;
    return createHash('sha256').update(`${this.#seed} ${this.#count}`).digest('hex').slice(0, digits);
  }

  /** Such as `rtb-0f3a…` (17 digits, as EC2's). */
  of(kind: string, digits = 17): string {
    return `${kind}-${this.hex(digits)}`;
  }

  /** Letters and digits in upper case, as access keys have them. */
  upper(letters: number): string {
    return this.hex(letters).toUpperCase();
  }

  uuid(): string {
    const h = this.hex(32);
    return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-a${h.slice(17, 20)}-${h.slice(20, 32)}`;
  }
}
