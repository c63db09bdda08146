/** The truth of a simulated S3, and what its calls have in common. */
import type { Clock } from '../core/clock.ts';
import { Bucket, seconds } from '../objects/bucket.ts';
import { hashOf } from '../objects/checksums.ts';
import type { ObjectReply } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { document } from '../objects/xml.ts';
import { refuse } from './errors.ts';

export const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';
export const MIB = 1024 * 1024;

/** What a vendor lacks. Conditional headers are then refused (501) or, worse, overlooked. */
export interface Lacking {
  put: 'refused' | 'ignored' | undefined;
  copy: 'refused' | 'ignored' | undefined;
  complete: 'refused' | 'ignored' | undefined;
  /** Calls that are answered by 501. */
  actions: Set<string>;
}

/** Where a bucket of another region is said to be. */
export type Elsewhere = 'moved' | 'redirected';

/** Limits, bytes. */
export interface S3Limits {
  partMin: number;
  putMax: number;
  copyMax: number;
}

export class S3World {
  readonly region: string;
  readonly clock: Clock;
  readonly buckets = new Map<string, Bucket>();
  /** Buckets that other accounts have. */
  readonly taken = new Set<string>();
  /** Buckets that answer with 301 or 307, whatever a request is signed for. */
  readonly elsewhere = new Map<string, Elsewhere>();
  readonly lacking: Lacking = { put: undefined, copy: undefined, complete: undefined, actions: new Set() };
  readonly limits: S3Limits = { partMin: 5 * MIB, putMax: 5 * 1024 * MIB, copyMax: 5 * 1024 * MIB };
  /** Bodies of 64 KiB and more have ETags that are no MD5 (as with SSE-KMS): MD5 takes 1.3 s of CPU for a GiB. */
  readonly fastEtags: boolean;
  #number = 0;

  constructor(region: string, clock: Clock, fastEtags: boolean) {
    this.region = region;
    this.clock = clock;
    this.fastEtags = fastEtags;
  }

  now(): number {
    return seconds(this.clock.now());
  }

  addBucket(name: string, region = this.region): Bucket {
    const made = new Bucket(name, region, this.now());
    this.buckets.set(name, made);
    return made;
  }

  bucket(call: ObjectCall): Bucket {
    const found = this.buckets.get(call.bucket);
    if (found === undefined) throw refuse('NoSuchBucket', undefined, { BucketName: call.bucket });
    return found;
  }

  /** A number that was never given before: for ids, and ETags of no content. */
  next(): string {
    this.#number += 1;
    return hashOf('md5', [Buffer.from(`${this.region} ${this.#number} ${process.pid}`)]).toString('hex');
  }

  /** Of a body. `suffix` marks those that are no MD5. */
  etagOf(body: readonly Buffer[], size: number): string {
    return this.fastEtags && size >= 64 * 1024 ? `${this.next()}-1` : hashOf('md5', body).toString('hex');
  }
}

/** Time in XML. */
export const iso = (ms: number): string => new Date(ms).toISOString();
/** Time in headers. */
export const httpDate = (ms: number): string => new Date(ms).toUTCString();

export const empty = (status: number, headers: Readonly<Record<string, string>> = {}): ObjectReply => ({
  status,
  headers,
  body: [],
});

export const xmlReply = (
  name: string,
  content: string,
  headers: Readonly<Record<string, string>> = {},
): ObjectReply => ({
  status: 200,
  headers: { 'Content-Type': 'application/xml', ...headers },
  body: [document(name, content, NAMESPACE)],
});

export const unquoted = (etag: string): string => etag.trim().replace(/^"(.*)"$/, '$1');
