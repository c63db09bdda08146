/** What the vendors of object stores say in their own words, and what only one of them heeds. */
import type { StoredObject, StoredPart, StoredUpload } from './bucket.ts';
import type { Described } from './describing.ts';
import type { Refuse } from './refusal.ts';
import type { ObjectCall } from './service.ts';

export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** How names are written in an answer. */
export interface Coder {
  encode(text: string): string;
  /** As `EncodingType` tells it. */
  readonly type: string | undefined;
}

/** Listings. */
export interface ListWords {
  /** Nothing is told of what is empty, nor a next marker that is the last key. */
  readonly isCurt: boolean;
  /** Of uploads of one key, the older comes first. */
  readonly byAge: boolean;
  /** Entries on a page; `usual`: when the caller does not say. Refusals: InvalidArgument. */
  limitOf(call: ObjectCall, name: string, usual?: number): number;
  coderOf(call: ObjectCall): Coder;
  /** `Contents`. */
  contents(object: StoredObject, encode: Coder['encode'], owner: boolean): string;
  /** More about an upload, and about a part. */
  upload(upload: StoredUpload): string;
  part(part: StoredPart): string;
  /** Continues behind that key or prefix. */
  tokenOf(last: string): string;
  /** The reverse; undefined: there is no token. Refusals: InvalidArgument. */
  lastOf(token: string | undefined): string | undefined;
}

/** Its functions throw Refusal. */
export interface Dialect {
  /** As calls, faults and permissions name it: `s3`. */
  readonly name: string;
  /** Of the vendor's headers. */
  readonly prefix: string;
  /** Of XML. */
  readonly namespace?: string;
  /** The permission to list a bucket: without it nobody is told whether an object exists. */
  readonly listing: string;
  /** Classes of storage whose objects have to be restored before they are read. */
  readonly archived: readonly string[];
  /** Headers of which a write must have one: they tell how long it is. */
  readonly lengths: readonly string[];
  readonly list: ListWords;
  readonly refuse: Refuse;
  checkKey(key: string): void;
  /** What comes with a new object beside its bytes. */
  describe(call: ObjectCall): Described;
  /** Checks the sums that came with a body, which may be a part of an upload; answers those that are kept. */
  sums(call: ObjectCall, upload?: StoredUpload): Record<string, string>;
  /** Conditions of reads, on the object. */
  checkRead(call: ObjectCall, object: StoredObject): void;
  /** Conditions of copies, on the source. */
  checkSource(call: ObjectCall, source: StoredObject): void;
  /** Conditions of writes, on what is there now. */
  checkWrite(call: ObjectCall, there: StoredObject | undefined, kind: 'put' | 'copy' | 'complete'): void;
  /** Bucket and key that a copy names, encoded; undefined: it names none. */
  sourceOf(call: ObjectCall): readonly [bucket: string, key: string] | undefined;
  /** Undefined: all of it is answered. */
  rangeOf(call: ObjectCall, size: number): Span | undefined;
  headersOf(call: ObjectCall, object: StoredObject): Record<string, string>;
  /** What the answer to a write tells, of an object or a part. */
  written(stored: Pick<StoredObject, 'etag' | 'checksums'>): Record<string, string>;
}
