/** What is in a bucket, in memory. */
import { sizeOf } from './message.ts';

export interface StoredObject {
  readonly key: string;
  readonly body: readonly Buffer[];
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  /** Epoch milliseconds; whole seconds. */
  readonly modified: number;
  /** By lower-case name, without the vendor's prefix. */
  readonly meta: Readonly<Record<string, string>>;
  /** `content-type` and its kin, given back as they came. */
  readonly headers: Readonly<Record<string, string>>;
  /** By the vendor's name of the algorithm. */
  readonly checksums: Readonly<Record<string, string>>;
  readonly storageClass: string;
}

export interface StoredPart {
  readonly number: number;
  readonly body: readonly Buffer[];
  readonly size: number;
  readonly etag: string;
  readonly modified: number;
  readonly checksums: Readonly<Record<string, string>>;
}

export interface StoredUpload {
  readonly id: string;
  readonly key: string;
  readonly begun: number;
  readonly meta: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly storageClass: string;
  /** The algorithm that was asked for, and whether the whole or the list of parts is summed up. */
  readonly checksum?: { readonly name: string; readonly whole: boolean };
  readonly parts: Map<number, StoredPart>;
}

/** UTF-8 as one character a byte: then strings compare as the stores order keys. */
export const byteString = (text: string): string =>
  /^[\0-\x7f]*$/.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');

export interface Listed {
  readonly objects: readonly StoredObject[];
  readonly prefixes: readonly string[];
  readonly truncated: boolean;
  /** The last object or prefix of the page. */
  readonly last: string;
}

/** Above all bytes. */
const ABOVE = 'Ā';

export class Bucket {
  readonly name: string;
  readonly region: string;
  readonly created: number;
  /** Every write is refused. */
  readOnly = false;
  quotaBytes = Number.POSITIVE_INFINITY;
  quotaObjects = Number.POSITIVE_INFINITY;
  readonly uploads = new Map<string, StoredUpload>();
  readonly #objects = new Map<string, StoredObject>();
  /** Keys of `#objects` in order, once somebody asked for it. */
  #order: string[] | undefined;
  #bytes = 0;

  constructor(name: string, region: string, created: number) {
    this.name = name;
    this.region = region;
    this.created = created;
  }

  get count(): number {
    return this.#objects.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(key: string): StoredObject | undefined {
    return this.#objects.get(byteString(key));
  }

  /** Would an object of that key and so many bytes go beyond a quota? Parts of uploads count, as with the vendors. */
  isFull(key: string | undefined, size: number): boolean {
    const there = key === undefined ? undefined : this.find(key);
    let parts = 0;
    for (const upload of this.uploads.values()) for (const part of upload.parts.values()) parts += part.size;
    const more = key !== undefined && there === undefined ? 1 : 0;
    return this.#bytes + parts - (there?.size ?? 0) + size > this.quotaBytes || this.count + more > this.quotaObjects;
  }

  put(object: StoredObject): void {
    const name = byteString(object.key);
    const there = this.#objects.get(name);
    this.#bytes += object.size - (there?.size ?? 0);
    this.#objects.set(name, object);
    if (there === undefined) this.#order?.splice(this.#place(name), 0, name);
  }

  remove(key: string): boolean {
    const name = byteString(key);
    const there = this.#objects.get(name);
    if (there === undefined) return false;
    this.#bytes -= there.size;
    this.#objects.delete(name);
    this.#order?.splice(this.#place(name), 1);
    return true;
  }

  /** All of it, in order. */
  all(): StoredObject[] {
    return this.#sorted().flatMap((name) => this.#objects.get(name) ?? []);
  }

  /** A page: what begins with `prefix` and comes after `after`. `over`: when that is a common prefix, what is in it was listed. */
  list(prefix: string, delimiter: string, after: string, over: boolean, limit: number): Listed {
    const order = this.#sorted();
    const [begin, mark, behind] = [byteString(prefix), byteString(delimiter), byteString(after)];
    const objects: StoredObject[] = [];
    const prefixes: string[] = [];
    let last = '';
    // What was answered as a common prefix is not looked into again.
    const skipped = over && mark !== '' && behind.startsWith(begin) && behind.endsWith(mark) && behind !== begin;
    let at = Math.max(this.#place(begin), behind === '' ? 0 : this.#place(skipped ? behind + ABOVE : `${behind}\0`));
    for (; at < order.length; ) {
      const name = order[at] ?? '';
      if (!name.startsWith(begin)) break;
      if (objects.length + prefixes.length >= limit) return { objects, prefixes, truncated: true, last };
      const end = mark === '' ? -1 : name.indexOf(mark, begin.length);
      if (end >= 0) {
        const common = name.slice(0, end + mark.length);
        last = Buffer.from(common, 'latin1').toString('utf8');
        prefixes.push(last);
        at = this.#place(common + ABOVE);
      } else {
        const object = this.#objects.get(name);
        if (object !== undefined) {
          objects.push(object);
          last = object.key;
        }
        at += 1;
      }
    }
    return { objects, prefixes, truncated: false, last };
  }

  #sorted(): string[] {
    this.#order ??= [...this.#objects.keys()].sort((a, b) => (a < b ? -1 : 1));
    return this.#order;
  }

  /** The index of the first name that is not before `name`. */
  #place(name: string): number {
    const order = this.#sorted();
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((order[middle] ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** ETags and times, as all object servers make them. */
export const seconds = (ms: number): number => Math.floor(ms / 1000) * 1000;

export const bodyOf = (parts: readonly StoredPart[]): { body: Buffer[]; size: number } => {
  const body = parts.flatMap((part) => [...part.body]);
  return { body, size: sizeOf(body) };
};
