import type { Context } from '../../shared/context.ts';
import type { Bucket } from './bucket.ts';
import { removalOf } from './deletions.ts';
import { failureOf } from './s3-failure.ts';
import { type Left, StoreError } from './store.ts';
import { childrenOf, textOf } from './xml.ts';

/** Rounds for keys that the store could not remove just then. */
const ROUNDS = 4;

/** Many keys in one request, where the vendor can. */
export class S3Removal {
  #canMany: boolean;

  constructor(canMany: boolean) {
    this.#canMany = canMany;
  }

  /** What it leaves, and what must be asked for one by one. */
  async many(
    bucket: Bucket,
    batch: readonly string[],
    c: Context,
  ): Promise<{ readonly left: readonly Left[]; readonly alone: readonly string[] }> {
    const left: Left[] = [];
    let keys = batch;
    for (let round = 1; this.#canMany; round += 1) {
      let now: readonly Left[];
      try {
        now = await this.#ask(bucket, keys, c);
      } catch (error) {
        if (!(error instanceof StoreError) || error.failure !== 'UNSUPPORTED') throw error;
        this.#canMany = false;
        break;
      }
      const passing = now.filter(({ reason }) => reason.passing);
      if (passing.length === 0 || round === ROUNDS) return { left: [...left, ...now], alone: [] };
      left.push(...now.filter(({ reason }) => !reason.passing));
      keys = passing.map(({ key }) => key);
    }
    return { left, alone: keys };
  }

  /** One request: what it leaves. */
  async #ask(bucket: Bucket, keys: readonly string[], c: Context): Promise<readonly Left[]> {
    const call = removalOf(bucket, keys, true);
    const { document } = await bucket.askDocument(call, c);
    return childrenOf(document, 'Error').flatMap((error) => {
      const [key, code, message] = [textOf(error, 'Key'), textOf(error, 'Code'), textOf(error, 'Message')];
      if (code === 'NoSuchKey') return [];
      const failure = failureOf({ status: 500, code, message, requestId: '' });
      const named = failure === 'DENIED' ? { named: call.action } : {};
      const text = `${key} cannot be removed: ${code} ${message}`;
      return [{ key, reason: new StoreError(failure, text, { key, ...named }) }];
    });
  }
}
