import type { Context } from '../../shared/context.ts';
import type { Bucket, BucketCall } from './bucket.ts';
import type { AskedBucket, StoreAnswer, StoreCall } from './call.ts';
import type { Refusal } from './refusal.ts';
import type { Left, ObjectDetails, ObjectFacts, Part, StoreError, StoreLimits, WriteCondition } from './store.ts';
import type { XmlElement } from './xml.ts';

/** By lower-case name. */
export type Headers = Readonly<Record<string, string>>;
export type AnswerHeaders = ReadonlyMap<string, string>;

/** How a body is guarded on its way, and known again. */
export interface Guard {
  readonly headers: Headers;
  /** What the completion of an upload must name of a part, in the vendor's form. */
  readonly checksum: string | undefined;
  /** Does the store have what was sent? */
  isIntact(answer: StoreAnswer): boolean;
  /** Is the object that is described so (asked for with `summed`) of this body? */
  isOf(headers: AnswerHeaders): boolean;
}

/** An upload that is to be completed. */
export interface Completion {
  readonly key: string;
  readonly parts: readonly Part[];
  /** Bytes of all parts. */
  readonly size: number;
  readonly condition: WriteCondition | undefined;
  /** It has not been sent. */
  readonly call: BucketCall;
  /** Asks whether the upload is there. */
  isOpen(): Promise<boolean>;
}

/** What S3 and OSS say, each in its own words, and what only one of them can. */
export interface Dialect {
  /** Also what names of permissions begin with. */
  readonly scheme: 's3' | 'oss';
  /** Of the vendor's headers. */
  readonly prefix: string;
  /** The header that names the key of encryption. */
  readonly keyHeader: string;
  /** Permissions that have not the same name. */
  readonly actions: { readonly list: string; readonly uploads: string; readonly create: string };
  readonly limits: StoreLimits;
  /** It heeds that there must be no object, whatever else of conditions it can. */
  readonly heedsAbsence: boolean;
  /** Answers may be without a document where there is nothing to say. */
  readonly isCurt: boolean;
  /** As an attribute of documents; '' where they have none. */
  readonly namespace: string;
  /** The element of a part's checksum in a completion; undefined: it is not said. */
  readonly sumElement?: string;
  /** Of GET and HEAD, when the checksum of the whole object is wanted. */
  readonly summed: Headers;
  /** Of GET, with a range. */
  readonly ranged: Headers;
  /** Of the beginning of an upload. */
  readonly beginning: Headers;
  /** Of listings of uploads. */
  readonly uploadsQuery: readonly (readonly [string, string])[];
  refused(answer: StoreAnswer, refusal: Refusal, call: StoreCall, bucket: AskedBucket): StoreError;
  /** `isCopy`: they are about the target of a copy. */
  conditions(condition: WriteCondition | undefined, isCopy?: boolean): Headers;
  guard(body: readonly Buffer[], condition?: WriteCondition): Guard;
  /** Do the bytes of a whole object have the checksum that the store tells, if it tells one? */
  isIntact(data: Buffer, details: ObjectDetails, headers: AnswerHeaders): boolean;
  /** Of a part that was copied. */
  copiedSum(document: XmlElement, headers: AnswerHeaders): string | undefined;
  /** One request for many keys: those it leaves, and those that must be asked for one by one. */
  removeMany(
    bucket: Bucket,
    keys: readonly string[],
    c: Context,
  ): Promise<{ readonly left: readonly Left[]; readonly alone: readonly string[] }>;
  /** Throws StoreError. What an earlier request of ours has completed is a success. */
  complete(bucket: Bucket, completion: Completion, c: Context): Promise<ObjectFacts>;
  /** What is said of a new bucket. */
  creation(region: string): Pick<BucketCall, 'headers' | 'body'>;
  /** Whose the bucket is that could not be made as there is one. */
  ownerOf(refusal: Refusal): 'us' | 'unsaid' | 'others';
}
