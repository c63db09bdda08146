import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';
import { encodeComponent } from './uri-encoding.ts';

/** By code units: what is compared is ASCII. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** `name=value` for each, encoded, in the order of the encoded names (none comes twice), joined. `bare`: without `=` when the value is ''. */
export const canonicalQuery = (query: readonly (readonly [string, string])[], bare: boolean): string => {
  if (query.length === 0) return '';
  const parts = query.map(([name, value]) => [encodeComponent(name), encodeComponent(value)] as const);
  if (parts.length > 1) parts.sort(([a], [b]) => byText(a, b));
  return parts.map(([name, value]) => (bare && value === '' ? name : `${name}=${value}`)).join('&');
};

const SPACES = /\s+/g;
const ODD = /\s\s|[^\S ]/;

/** Without spaces around it, and with one in the place of several. */
export const trimmed = (value: string): string => {
  const text = value.trim();
  return ODD.test(text) ? text.replace(SPACES, ' ') : text;
};

/** A moment as `20261122T160405Z`. */
export const basicTime = (time: number): string => {
  const iso = new Date(time).toISOString();
  return `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
};

export const sha256 = (text: string | Buffer): string => hash('sha256', text, 'hex');

export const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export const hmacHex = (key: KeyObject, text: string): string => createHmac('sha256', key).update(text).digest('hex');

/**
 * Keeps what was derived last: it is good for a day, a region and a secret. As a key object, which makes a signature
 * seven times as cheap as from bytes.
 */
export class SigningKey {
  readonly #derive: (secret: string, day: string) => Buffer;
  #secret = '';
  #day = '';
  #key: KeyObject | undefined;

  constructor(derive: (secret: string, day: string) => Buffer) {
    this.#derive = derive;
  }

  get(secret: string, day: string): KeyObject {
    if (this.#key !== undefined && this.#secret === secret && this.#day === day) return this.#key;
    this.#secret = secret;
    this.#day = day;
    this.#key = createSecretKey(this.#derive(secret, day));
    return this.#key;
  }
}
