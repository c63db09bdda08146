/** The truth of a simulated OSS. */
import type { Clock } from '../core/clock.ts';
import type { Bucket, StoredObject } from '../objects/bucket.ts';
import type { ObjectCall } from '../objects/service.ts';
import { KIB, ObjectWorld } from '../objects/world.ts';
import { crcHeader } from './checksums.ts';
import { ossDialect } from './dialect.ts';
import { refuse } from './errors.ts';

export class OssWorld extends ObjectWorld {
  readonly dialect = ossDialect((stored) => this.stored(stored));
  /** So many answers to writes tell a wrong checksum, as if something else had arrived. */
  damaged = 0;

  constructor(region: string, clock: Clock) {
    super(region, clock, 100 * KIB);
  }

  override bucket(call: ObjectCall): Bucket {
    const found = super.bucket(call);
    if (found.region === this.region) return found;
    throw refuse(
      'AccessDenied',
      'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.',
      { Bucket: call.bucket, Endpoint: `oss-${found.region}.aliyuncs.com` },
    );
  }

  /** The header of an answer to a write. */
  stored(object: Pick<StoredObject, 'checksums'>): Record<string, string> {
    if (this.damaged === 0) return crcHeader(object);
    this.damaged -= 1;
    return crcHeader({ checksums: { crc64: '1' } });
  }

  override digest(body: readonly Buffer[]): string {
    return super.digest(body).toUpperCase();
  }
}
