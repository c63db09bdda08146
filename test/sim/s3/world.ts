/** The truth of a simulated S3. */
import type { Clock } from '../core/clock.ts';
import { MIB, ObjectWorld } from '../objects/world.ts';
import { s3Dialect } from './dialect.ts';

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

export class S3World extends ObjectWorld {
  /** Buckets that answer with 301 or 307, whatever a request is signed for. */
  readonly elsewhere = new Map<string, Elsewhere>();
  readonly lacking: Lacking = { put: undefined, copy: undefined, complete: undefined, actions: new Set() };
  readonly dialect = s3Dialect(this.lacking);
  /** Bodies of 64 KiB and more have ETags that are no MD5 (as with SSE-KMS): MD5 takes 1.3 s of CPU for a GiB. */
  readonly fastEtags: boolean;

  constructor(region: string, clock: Clock, fastEtags: boolean) {
    super(region, clock, 5 * MIB);
    this.fastEtags = fastEtags;
  }

  /** `-1` marks those that are no MD5. */
  override etagOf(body: readonly Buffer[], size: number): string {
    return this.fastEtags && size >= 64 * 1024 ? `${this.next()}-1` : super.etagOf(body, size);
  }
}
