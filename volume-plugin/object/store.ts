import type { Context } from '../../shared/context.ts';

/** What a store tells of an object. */
export interface ObjectFacts {
  /** The whole key, as the bucket has it. */
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Without quotes; changes with every change of the content. */
  readonly etag: string;
  /**
   * Epoch milliseconds by the store's clock, about: LIST may tell milliseconds where GET tells seconds, and of a write it is the
   * answer's time. What has the same ETag is the same.
   */
  readonly modified: number;
}

/** What an answer to GET and HEAD tells, and LIST does not. */
export interface ObjectDetails extends ObjectFacts {
  /** User metadata by lower-case name, without the vendor's prefix (`x-amz-meta-`, `x-oss-meta-`). */
  readonly meta: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly web?: WebHeaders;
}

/**
 * What others have said for browsers: `cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`, by
 * these names. Whoever replaces what describes an object hands them on.
 */
export type WebHeaders = Readonly<Record<string, string>>;

/** A part of an object that was read. */
export interface Got {
  readonly details: ObjectDetails;
  /** The bytes that were asked for, checked as far as the vendor lets us; the caller owns them. */
  readonly data: readonly Buffer[];
}

/** Bytes of an object. A range that begins at or after the end is answered by no bytes. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

export interface GetOptions {
  readonly range?: Range;
  /** The object has this ETag, else CONFLICT. */
  readonly ifMatch?: string;
  /** Memory of the caller's for the data, as long as the range; a store that can puts it there, and `data` are views of it. */
  readonly into?: Buffer;
}

/** What a part is copied from. */
export interface PartSource {
  readonly key: string;
  readonly range: Range;
  readonly ifMatch: string;
}

/** An object that could not be removed. */
export interface Left {
  readonly key: string;
  readonly reason: StoreError;
}

/** What has to be so in the store for a write to happen; otherwise CONFLICT, and nothing is changed. */
export interface WriteCondition {
  /** The object there has this ETag. */
  readonly ifMatch?: string;
  /** There is no object of that key. */
  readonly ifAbsent?: boolean;
}

export interface NewObject {
  /** Names of small letters, digits, `-`, `_` and `.`; values of printable ASCII that neither begin nor end with a space. Else INVALID. */
  readonly meta: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly web?: WebHeaders;
  readonly condition?: WriteCondition;
}

export interface CopyOptions {
  /** In the place of the source's metadata and content type; the source's when absent. */
  readonly replace?: Omit<NewObject, 'condition'>;
  /** The source has this ETag, else CONFLICT. */
  readonly ifSourceMatch?: string;
  /** Bytes of the source, if that is known: it saves a look. */
  readonly sourceSize?: number;
  /** Of the target. */
  readonly condition?: WriteCondition;
}

/** A page of a listing, in the byte order of keys. */
export interface Page {
  readonly objects: readonly ObjectFacts[];
  /** With a delimiter: what the keys begin with up to and with it. */
  readonly prefixes: readonly string[];
  /** Where the next page begins; undefined: this is the last one. */
  readonly next?: string;
}

export interface ListOptions {
  readonly delimiter?: '/';
  /** `next` of the page before. */
  readonly from?: string;
  /** Keys behind this one only. */
  readonly after?: string;
  /** At most 1000, which is usual. */
  readonly limit?: number;
}

/** A part that was uploaded, as it is named at the completion. */
export interface Part {
  /** From 1. */
  readonly number: number;
  readonly etag: string;
  readonly size: number;
  /** What the completion must name beside the ETag, in the vendor's form. */
  readonly checksum?: string;
}

/** An upload in parts that was neither completed nor aborted. */
export interface Unfinished {
  readonly key: string;
  readonly id: string;
  /** Epoch milliseconds. */
  readonly begun: number;
}

/** What a store can do and how much of it; bytes. */
export interface StoreLimits {
  readonly partMin: number;
  readonly partMax: number;
  readonly parts: number;
  readonly putMax: number;
  /** Of one server-side copy without parts. */
  readonly copyMax: number;
  /** Of an object's metadata: names and values together. */
  readonly metaMax: number;
  /** Can writes be conditional? Without it lost updates are found by a look before the write, and that is not certain. */
  readonly conditionalPut: boolean;
  readonly conditionalCopy: boolean;
  readonly conditionalComplete: boolean;
  /** Server-side copies of ranges into parts. */
  readonly copyPart: boolean;
  /** All parts but the last must have one size. */
  readonly equalParts: boolean;
}

/** Why a store refuses, or did not do, what it was asked. The words of vendors become these in their stores' files. */
export type StoreFailure =
  | 'NOT_FOUND' // no such object (of a GET, a copy's source), or no such upload
  | 'CONFLICT' // a condition does not hold: nothing was changed
  | 'NO_BUCKET'
  | 'DENIED' // `action` names what is not allowed
  | 'CREDENTIALS' // refused, ended, or none there
  | 'WRONG_REGION' // `region` names the right one, when the store tells
  | 'SKEWED' // this host's clock, also after the correction
  | 'THROTTLED' // after all repetitions
  | 'FULL' // a quota, of bytes or objects
  | 'READ_ONLY' // the bucket takes no writes: frozen, retention, WORM
  | 'ARCHIVED' // the object must be restored first
  | 'UNSUPPORTED' // this vendor has no such call or header
  | 'INVALID' // the request, in the store's opinion: `text` says what
  | 'DAMAGED' // bytes that do not have their checksum, after repetition
  | 'UNREACHABLE' // no answer; of a write the outcome is open
  | 'DEADLINE'; // the context ended; of a write the outcome is open

/** How a call to a store failed. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly failure: StoreFailure;
  readonly key: string | undefined;
  /** The vendor's name of the permission, such as `s3:PutObject`, or of the region. */
  readonly named: string | undefined;
  /** May the same call succeed a little later? */
  readonly passing: boolean;

  constructor(
    failure: StoreFailure,
    text: string,
    more: { readonly key?: string; readonly named?: string; readonly cause?: unknown } = {},
  ) {
    super(text, more.cause === undefined ? undefined : { cause: more.cause });
    this.failure = failure;
    this.key = more.key;
    this.named = more.named;
    this.passing = failure === 'THROTTLED' || failure === 'UNREACHABLE' || failure === 'DEADLINE';
  }
}

export const conflict = (key: string, cause?: unknown): StoreError =>
  new StoreError('CONFLICT', `${key} is not what it was`, { key, cause });

/**
 * A bucket. Calls repeat by themselves what may be repeated (with jitter, within the context's deadline and a budget);
 * every one throws StoreError and nothing else.
 */
export interface ObjectStore {
  /** `s3://bucket` or `oss://bucket`, for people. */
  readonly name: string;
  readonly limits: StoreLimits;
  /** Failure: NOT_FOUND; CONFLICT when `ifMatch` does not hold. A range's data may be shorter at the object's end. */
  get(key: string, options: GetOptions, c: Context): Promise<Got>;
  /** Undefined: there is no such object. */
  head(key: string, c: Context): Promise<ObjectDetails | undefined>;
  /** Replaces the object at once or not at all. */
  put(key: string, body: readonly Buffer[], object: NewObject, c: Context): Promise<ObjectFacts>;
  /** On the server's side; of up to `limits.copyMax` bytes. */
  copy(from: string, to: string, options: CopyOptions, c: Context): Promise<ObjectFacts>;
  /** Succeeds when there is none. */
  remove(key: string, c: Context): Promise<void>;
  /** Any number of keys; answers those that are still there, with the reason. */
  removeAll(keys: readonly string[], c: Context): Promise<readonly Left[]>;
  list(prefix: string, options: ListOptions, c: Context): Promise<Page>;
  /** Answers the upload's id. */
  beginUpload(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string>;
  uploadPart(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part>;
  copyPart(key: string, id: string, number: number, source: PartSource, c: Context): Promise<Part>;
  completeUpload(
    key: string,
    id: string,
    parts: readonly Part[],
    condition: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts>;
  /** Succeeds when there is none. */
  abortUpload(key: string, id: string, c: Context): Promise<void>;
  /** Those of keys that begin with `prefix`, of whoever began them. */
  unfinished(prefix: string, c: Context): Promise<readonly Unfinished[]>;
  /** Is the bucket there, and may this host list what begins with `prefix`? Within 5 s. Failures: all but NOT_FOUND and CONFLICT. */
  check(c: Context, prefix?: string): Promise<void>;
  /** Failures: DENIED, INVALID (somebody else has that name). Succeeds when it is ours already. */
  createBucket(c: Context): Promise<void>;
  /** Failures: INVALID when there is something in it. */
  removeBucket(c: Context): Promise<void>;
  /** Ends connections. */
  close(): Promise<void>;
}
