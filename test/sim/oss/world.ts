/** The truth of a simulated OSS, and what its calls have in common. */
import type { Clock } from '../core/clock.ts';
import { Bucket, type StoredObject, seconds } from '../objects/bucket.ts';
import { crc64, hashOf, POLYNOMIAL_ECMA } from '../objects/checksums.ts';
import type { ObjectReply } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { document } from '../objects/xml.ts';
import { refuse } from './errors.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

export class OssWorld {
  readonly region: string;
  readonly clock: Clock;
  readonly buckets = new Map<string, Bucket>();
  /** Buckets that other accounts have. */
  readonly taken = new Set<string>();
  readonly limits = { partMin: 100 * KIB, putMax: 5 * 1024 * MIB, copyMax: 5 * 1024 * MIB };
  /** So many answers to writes tell a wrong checksum, as if something else had arrived. */
  damaged = 0;
  #number = 0;

  constructor(region: string, clock: Clock) {
    this.region = region;
    this.clock = clock;
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
    if (found.region !== this.region) {
      throw refuse(
        'AccessDenied',
        'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.',
        { Bucket: call.bucket, Endpoint: `oss-${found.region}.aliyuncs.com` },
      );
    }
    return found;
  }

  /** The header of an answer to a write. */
  stored(checksum: string): Record<string, string> {
    if (this.damaged === 0) return { 'x-oss-hash-crc64ecma': checksum };
    this.damaged -= 1;
    return { 'x-oss-hash-crc64ecma': '1' };
  }

  next(): string {
    this.#number += 1;
    return hashOf('md5', [Buffer.from(`${this.region} ${this.#number}`)])
      .toString('hex')
      .toUpperCase();
  }
}

export const etagOf = (body: readonly Buffer[]): string => hashOf('md5', body).toString('hex').toUpperCase();

export const crcOf = (body: readonly Buffer[]): string => String(crc64(body, POLYNOMIAL_ECMA));

export const crcHeader = ({ checksums }: Pick<StoredObject, 'checksums'>): Record<string, string> => ({
  'x-oss-hash-crc64ecma': checksums['crc64'] ?? '0',
});

export const iso = (ms: number): string => new Date(ms).toISOString();

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
  body: [document(name, content)],
});

export const unquoted = (etag: string): string => etag.trim().replace(/^"(.*)"$/, '$1');
