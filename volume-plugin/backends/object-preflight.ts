import { randomUUID } from 'node:crypto';
import { type Context, newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { StoreError } from '../object/store.ts';
import type { OpenBucket } from './object-buckets.ts';
import { asked, bucketError } from './object-errors.ts';
import { BUCKET_NOTE } from './object-records.ts';

/** Whoever has mistyped something hears of it within this time. */
const PREFLIGHT_MS = 5_000;

/** For a bucket that is made: clouds take longer for that. */
const MAKE_MS = 20_000;

/**
 * Is the bucket there, and may this host do there what a volume of this prefix needs? A bucket that is missing is made,
 * unless `readonly`. Errors, within 5 s: BUCKET_MISSING, BUCKET_REGION, BUCKET_DENIED, BUCKET_CREDENTIALS, BUCKET_CLOCK,
 * BUCKET_CERTIFICATE, BUCKET_PROXY, BUCKET_UNREACHABLE, …
 */
export const preflight = async (on: OpenBucket, readonly: boolean, prefix: string, c: Context): Promise<void> => {
  const { store } = on;
  const inner = newContext(c.log, PREFLIGHT_MS, c);
  const inTime = <T>(what: string, work: () => Promise<T>): Promise<T> => timed(on, what, work);
  try {
    await inTime('to be looked at', () => store.check(inner, prefix));
  } catch (error) {
    if (!(error instanceof PluginError) || error.code !== 'BUCKET_MISSING' || readonly) throw error;
    await make(on, error, newContext(c.log, MAKE_MS, c));
    return;
  }
  if (readonly) return;
  const key = `.drayage/probes/${randomUUID()}`;
  await inTime('to write', () => store.put(key, [], { meta: {} }, inner));
  await inTime('to remove', () => store.remove(key, inner));
};

/** What did not end in time has not answered. */
const timed = async <T>(on: OpenBucket, what: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await asked(on.store.name, what, work);
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    const { endpoint } = on.bucket;
    if (error.code === 'DEADLINE' || error.code === 'BUCKET_UNREACHABLE') {
      const reason = error.code === 'DEADLINE' ? 'it did not answer within 5 s' : undefined;
      const context = { ...error.context, bucket: on.store.name, endpoint, ...(reason !== undefined && { reason }) };
      throw new PluginError('BUCKET_UNREACHABLE', context, { cause: error });
    }
    throw error;
  }
};

const make = async (on: OpenBucket, missing: PluginError, c: Context): Promise<void> => {
  const { store } = on;
  try {
    await store.createBucket(c);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { failure, named, message } = error;
    if (failure === 'DENIED' || failure === 'UNSUPPORTED' || failure === 'INVALID') {
      const reason = `and it could not be made: ${named === undefined ? message : `this host may not ${named}`}`;
      throw new PluginError('BUCKET_MISSING', { ...missing.context, reason }, { cause: error });
    }
    throw bucketError(error, store.name, 'to make the bucket');
  }
  c.log.info('a bucket was made', { bucket: on.id });
  // It goes with its last volume, when there is nothing else in it.
  await on.files.createFile(BUCKET_NOTE, `${JSON.stringify({ format: 1, made: new Date().toISOString() })}\n`, c);
};
