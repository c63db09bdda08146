/** The truth of a simulated object store. */
import type { Clock } from '../core/clock.ts';
import { Bucket, seconds } from './bucket.ts';
import { hashOf } from './checksums.ts';
import type { Dialect } from './dialect.ts';
import type { ObjectReply } from './message.ts';
import type { ObjectCall } from './service.ts';
import { document } from './xml.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Bytes. */
export interface ObjectLimits {
  partMin: number;
  putMax: number;
  copyMax: number;
}

/** Subclasses add what only one vendor's store can be made to do. */
export abstract class ObjectWorld {
  abstract readonly dialect: Dialect;
  readonly region: string;
  readonly clock: Clock;
  readonly buckets = new Map<string, Bucket>();
  /** Buckets that other accounts have. */
  readonly taken = new Set<string>();
  readonly limits: ObjectLimits;
  #number = 0;

  constructor(region: string, clock: Clock, partMin: number) {
    this.region = region;
    this.clock = clock;
    this.limits = { partMin, putMax: 5 * 1024 * MIB, copyMax: 5 * 1024 * MIB };
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
    if (found === undefined) throw this.dialect.refuse('NoSuchBucket', undefined, { BucketName: call.bucket });
    return found;
  }

  /** The bucket takes so many bytes more, under that key or as a part. Refusals: QuotaExceeded. */
  checkRoom(bucket: Bucket, key: string | undefined, size: number): void {
    if (bucket.isFull(key, size)) {
      throw this.dialect.refuse('QuotaExceeded', undefined, { BucketName: bucket.name });
    }
  }

  /** MD5 in hexadecimal digits. */
  digest(body: readonly Buffer[]): string {
    return hashOf('md5', body).toString('hex');
  }

  /** Of a body. */
  etagOf(body: readonly Buffer[], _size: number): string {
    return this.digest(body);
  }

  /** A number that was never given before: for ids, and ETags of no content. */
  next(): string {
    this.#number += 1;
    return this.digest([Buffer.from(`${this.region} ${this.#number} ${process.pid}`)]);
  }

  /** An answer in XML. */
  xml(name: string, content: string, headers: Readonly<Record<string, string>> = {}): ObjectReply {
    return {
      status: 200,
      headers: { 'Content-Type': 'application/xml', ...headers },
      body: [document(name, content, this.dialect.namespace)],
    };
  }
}
