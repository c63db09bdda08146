import type { Context } from '../../shared/context.ts';
import { inParallel } from './in-parallel.ts';
import { leftOf } from './s3-answers.ts';
import type { S3Bucket, S3Call } from './s3-bucket.ts';
import { failureOf } from './s3-failure.ts';
import { md5Of } from './s3-guard.ts';
import { StoreError } from './store.ts';
import { escapeXml, fitsXml } from './xml.ts';

export interface Left {
  readonly key: string;
  readonly reason: StoreError;
}

const BATCH = 1_000;
const AT_ONCE = { batches: 4, keys: 32 };
/** Rounds for keys that the store could not remove just then. */
const ROUNDS = 4;

/** Removes objects of a bucket, many in one request where the vendor can. */
export class S3Deletions {
  readonly #bucket: S3Bucket;
  #canMany: boolean;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
    this.#canMany = bucket.vendor.deleteMany;
  }

  async one(key: string, c: Context): Promise<void> {
    const call: S3Call = { action: 's3:DeleteObject', method: 'DELETE', key };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure !== 'NOT_FOUND') throw error;
  }

  async all(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    const batches: string[][] = [];
    const alone: string[] = [];
    for (const key of new Set(keys)) {
      if (!this.#canMany || !fitsXml(key)) alone.push(key);
      else if ((batches.at(-1)?.length ?? BATCH) < BATCH) batches.at(-1)?.push(key);
      else batches.push([key]);
    }
    const left: Left[] = [];
    await inParallel(batches, AT_ONCE.batches, async (batch) => {
      left.push(...(await this.#many(batch, c)));
    });
    await inParallel(alone, AT_ONCE.keys, async (key) => {
      try {
        await this.one(key, c);
      } catch (error) {
        if (!(error instanceof StoreError) || error.failure === 'NO_BUCKET') throw error;
        left.push({ key, reason: error });
      }
    });
    return left;
  }

  async #many(batch: readonly string[], c: Context): Promise<readonly Left[]> {
    let keys = batch;
    for (let round = 1; ; round += 1) {
      let left: readonly Left[];
      try {
        left = await this.#ask(keys, c);
      } catch (error) {
        if (!(error instanceof StoreError) || error.failure !== 'UNSUPPORTED') throw error;
        this.#canMany = false;
        return this.all(keys, c);
      }
      const passing = left.filter(({ reason }) => reason.passing);
      if (passing.length === 0 || round === ROUNDS) return left;
      const final = left.filter(({ reason }) => !reason.passing);
      if (final.length > 0)
        return [
          ...final,
          ...(await this.#many(
            passing.map(({ key }) => key),
            c,
          )),
        ];
      keys = passing.map(({ key }) => key);
    }
  }

  /** One request: what it leaves. */
  async #ask(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join('');
    const body = [
      Buffer.from(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${objects}</Delete>`),
    ];
    const call: S3Call = {
      ...{ action: 's3:DeleteObject', method: 'POST', ofBucket: true, key: keys[0] ?? '' },
      query: [['delete', '']],
      headers: { 'content-type': 'application/xml', 'content-md5': md5Of(body, 'base64') },
      body,
    };
    const { document } = await this.#bucket.askDocument(call, c);
    return leftOf(document)
      .filter(({ code }) => code !== 'NoSuchKey')
      .map(({ key, code, message }) => {
        const failure = failureOf({ status: 500, code, message, requestId: '' });
        const named = failure === 'DENIED' ? { named: call.action } : {};
        return {
          key,
          reason: new StoreError(failure, `${key} cannot be removed: ${code} ${message}`, { key, ...named }),
        };
      });
  }
}
