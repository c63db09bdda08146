import type { Context } from '../../shared/context.ts';
import { decoderOf, documentOf } from './answers.ts';
import { inParallel } from './in-parallel.ts';
import type { OssBucket, OssCall } from './oss-bucket.ts';
import { md5Of } from './oss-guard.ts';
import { StoreError } from './store.ts';
import { childrenOf, escapeXml, fitsXml, textOf } from './xml.ts';

export interface Left {
  readonly key: string;
  readonly reason: StoreError;
}

const BATCH = 1_000;
const AT_ONCE = { batches: 4, keys: 32 };

/** Removes objects of a bucket of OSS, a thousand in one request. */
export class OssDeletions {
  readonly #bucket: OssBucket;

  constructor(bucket: OssBucket) {
    this.#bucket = bucket;
  }

  async one(key: string, c: Context): Promise<void> {
    const call: OssCall = { action: 'oss:DeleteObject', method: 'DELETE', key };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure !== 'NOT_FOUND') throw error;
  }

  async all(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    const unique = [...new Set(keys)];
    const alone = unique.filter((key) => !fitsXml(key));
    const together = unique.filter(fitsXml);
    const batches = Array.from({ length: Math.ceil(together.length / BATCH) }, (_, n) =>
      together.slice(n * BATCH, (n + 1) * BATCH),
    );
    await inParallel(batches, AT_ONCE.batches, async (batch) => {
      const gone = await this.#many(batch, c);
      // It does not say why: asked for one by one it does.
      alone.push(...batch.filter((key) => !gone.has(key)));
    });
    const left: Left[] = [];
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

  /** One request: what it has removed. Not in the quiet way, in which an answer without a word means that all are gone. */
  async #many(keys: readonly string[], c: Context): Promise<ReadonlySet<string>> {
    const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join('');
    const body = [Buffer.from(`<Delete><Quiet>false</Quiet>${objects}</Delete>`)];
    const call: OssCall = {
      ...{ action: 'oss:DeleteObject', method: 'POST', ofBucket: true, key: keys[0] ?? '', body },
      query: [
        ['delete', ''],
        ['encoding-type', 'url'],
      ],
      headers: { 'content-type': 'application/xml', 'content-md5': md5Of(body) },
    };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal !== undefined) {
      const error = this.#bucket.refused(answer, answer.refusal, call);
      // Of a thousand there may be one that must not go: which, is told one by one.
      if (error.failure === 'DENIED' || error.failure === 'READ_ONLY') return new Set();
      throw error;
    }
    const document = documentOf(answer.body, call.action);
    const decode = decoderOf(document);
    return new Set(childrenOf(document, 'Deleted').map((deleted) => decode(textOf(deleted, 'Key'))));
  }
}
