/** What comes with a new object: metadata, headers, class of storage, encryption. */
import type { Refusal } from './refusal.ts';

const KEPT = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];

export interface Described {
  readonly meta: Readonly<Record<string, string>>;
  readonly headers: Record<string, string>;
  readonly storageClass: string;
}

/** What a vendor takes, and how it refuses the rest. */
export interface Describable {
  /** Of the vendor's headers. */
  readonly prefix: string;
  /** Bytes of names and values. */
  readonly metaMax: number;
  /** Of storage; the first is the usual one. */
  readonly classes: readonly string[];
  readonly encryptions: readonly string[];
  /** Names the key of encryption. */
  readonly keyHeader: string;
  tooMuchMeta(size: number): Refusal;
  noSuchClass(name: string): Refusal;
  noSuchEncryption(name: string): Refusal;
}

/** `sent`: headers by lower-case name. Throws Refusal. */
export function describe(sent: Readonly<Record<string, string>>, takes: Describable): Described {
  const begin = `${takes.prefix}meta-`;
  const meta: Record<string, string> = {};
  let size = 0;
  for (const [name, value] of Object.entries(sent)) {
    if (!name.startsWith(begin)) continue;
    meta[name.slice(begin.length)] = value;
    size += Buffer.byteLength(name) - begin.length + Buffer.byteLength(value);
  }
  if (size > takes.metaMax) throw takes.tooMuchMeta(size);
  const headers: Record<string, string> = {};
  for (const name of KEPT) {
    const value = sent[name];
    if (value !== undefined && value !== '') headers[name] = value;
  }
  const storageClass = sent[`${takes.prefix}storage-class`] ?? takes.classes[0] ?? '';
  if (!takes.classes.includes(storageClass)) throw takes.noSuchClass(storageClass);
  const encryption = `${takes.prefix}server-side-encryption`;
  const sse = sent[encryption];
  if (sse !== undefined && !takes.encryptions.includes(sse)) throw takes.noSuchEncryption(sse);
  for (const name of [encryption, takes.keyHeader]) {
    const value = sent[name];
    if (value !== undefined) headers[name] = value;
  }
  return { meta, headers, storageClass };
}
