import type { Context } from '../../shared/context.ts';
import { dateOf, resultOf } from './answers.ts';
import type { Bucket } from './bucket.ts';
import type { Completion } from './dialect.ts';
import { crc32OfParts, etagOfParts, isSame } from './s3-guard.ts';
import { type ObjectFacts, StoreError } from './store.ts';

/** Completes an upload. `unknownFail`: see `unknownUploadsFail` of vendors. */
export const complete = async (
  bucket: Bucket,
  completion: Completion,
  unknownFail: boolean,
  c: Context,
): Promise<ObjectFacts> => {
  const { key, size, condition, call, isOpen } = completion;
  try {
    if (unknownFail && !(await isOpen()))
      throw new StoreError('NOT_FOUND', `there is no such upload of ${key}`, { key });
    const { answer, document } = await bucket.askDocument(call, c);
    return { key, size, etag: resultOf(document).etag, modified: dateOf(answer.headers) };
  } catch (error) {
    const isUnclear = error instanceof StoreError && (error.failure === 'NOT_FOUND' || error.failure === 'CONFLICT');
    // It may have been completed by a request of ours whose answer was lost.
    const there = isUnclear ? await completed(bucket, completion, c) : undefined;
    if (there !== undefined) return there;
    // With a condition on what is there, S3 says that there is nothing as if of an object that was to be read.
    const isGone = isUnclear && condition?.ifMatch !== undefined && error.failure === 'NOT_FOUND';
    throw isGone && (await isOpen()) ? new StoreError('CONFLICT', `${key} is not there any more`, { key }) : error;
  }
};

/** The object there, if it is of these parts. */
const completed = async (bucket: Bucket, { key, parts }: Completion, c: Context): Promise<ObjectFacts | undefined> => {
  const headers = await bucket.head(key, true, c);
  const etag = etagOfParts(parts.map((part) => part.etag));
  const crc32 = crc32OfParts(parts.map(({ checksum }) => checksum));
  if (headers === undefined || !isSame(headers, { crc32, etag })) return undefined;
  const there = bucket.detailsOf(key, headers);
  return { key, size: there.size, etag: there.etag, modified: there.modified };
};
