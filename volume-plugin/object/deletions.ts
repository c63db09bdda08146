import type { Context } from '../../shared/context.ts';
import { md5Of } from './body.ts';
import type { Bucket, BucketCall } from './bucket.ts';
import { inParallel } from './in-parallel.ts';
import { type Left, StoreError } from './store.ts';
import { escapeXml, fitsXml } from './xml.ts';

const BATCH = 1_000;
const AT_ONCE = { batches: 4, keys: 32 };

/** Removes one by one, so many at once: what is still there, with the reason. Throws what is of the whole bucket. */
export const removeEach = async (
  keys: readonly string[],
  atOnce: number,
  remove: (key: string) => Promise<void>,
): Promise<readonly Left[]> => {
  const left: Left[] = [];
  await inParallel(keys, atOnce, async (key) => {
    try {
      await remove(key);
    } catch (error) {
      if (!(error instanceof StoreError) || error.failure === 'NO_BUCKET') throw error;
      left.push({ key, reason: error });
    }
  });
  return left;
};

/** One request for many keys. `isQuiet`: what has gone is not answered. */
export const removalOf = (bucket: Bucket, keys: readonly string[], isQuiet: boolean): BucketCall => {
  const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join('');
  const body = [Buffer.from(`<Delete${bucket.dialect.namespace}><Quiet>${isQuiet}</Quiet>${objects}</Delete>`)];
  return {
    ...{ action: bucket.action('DeleteObject'), method: 'POST', ofBucket: true, key: keys[0] ?? '', body },
    query: [['delete', '']],
    headers: { 'content-type': 'application/xml', 'content-md5': md5Of(body, 'base64') },
  };
};

/** Removes objects of a bucket, a thousand in one request where the vendor can. */
export class Deletions {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  one(key: string, c: Context): Promise<void> {
    return this.#bucket.askGone({ action: this.#bucket.action('DeleteObject'), method: 'DELETE', key }, c);
  }

  async all(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    const unique = [...new Set(keys)];
    const alone = unique.filter((key) => !fitsXml(key));
    const together = unique.filter(fitsXml);
    const batches = Array.from({ length: Math.ceil(together.length / BATCH) }, (_, n) =>
      together.slice(n * BATCH, (n + 1) * BATCH),
    );
    const left: Left[] = [];
    await inParallel(batches, AT_ONCE.batches, async (batch) => {
      const rest = await this.#bucket.dialect.removeMany(this.#bucket, batch, c);
      left.push(...rest.left);
      alone.push(...rest.alone);
    });
    left.push(...(await removeEach(alone, AT_ONCE.keys, (key) => this.one(key, c))));
    return left;
  }
}
