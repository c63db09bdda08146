import type { Context } from '../../shared/context.ts';
import { bareEtag, dateOf, decoderOf, documentOf } from './answers.ts';
import { md5Of } from './body.ts';
import type { Bucket, BucketOptions } from './bucket.ts';
import { BucketStore } from './bucket-store.ts';
import type { StoreAnswer } from './call.ts';
import { removalOf } from './deletions.ts';
import type { Completion, Dialect } from './dialect.ts';
import { refused } from './oss-failure.ts';
import { crc64Of, crcOfParts, isIntact, toldCrc } from './oss-guard.ts';
import type { ObjectFacts, ObjectStore } from './store.ts';
import { childrenOf, textOf } from './xml.ts';

const KIB = 2 ** 10;
const GIB = 2 ** 30;

/**
 * A bucket of Aliyun OSS, by its own interface. It knows one condition for writes: that there is no object of that key
 * (`x-oss-forbid-overwrite`); for another a look comes before the write.
 * https://www.alibabacloud.com/help/en/oss/developer-reference/list-of-operations-by-function
 */
export const ossStore = (options: BucketOptions): ObjectStore => new BucketStore(options, OSS);

const OSS: Dialect = {
  scheme: 'oss',
  prefix: 'x-oss-',
  keyHeader: 'x-oss-server-side-encryption-key-id',
  actions: { list: 'oss:ListObjects', uploads: 'oss:ListMultipartUploads', create: 'oss:PutBucket' },
  limits: {
    ...{ partMin: 100 * KIB, partMax: 5 * GIB, parts: 10_000, putMax: 5 * GIB, copyMax: GIB, metaMax: 8 * KIB },
    ...{ conditionalPut: false, conditionalCopy: false, conditionalComplete: false },
    ...{ copyPart: true, equalParts: false },
  },
  heedsAbsence: true,
  isCurt: false,
  namespace: '',
  // It tells the checksum of every object unasked.
  summed: {},
  // Otherwise a range beyond the end is answered by the whole object.
  ranged: { 'x-oss-range-behavior': 'standard' },
  beginning: {},
  uploadsQuery: [
    ['encoding-type', 'url'],
    ['max-uploads', '1000'],
  ],
  refused,
  conditions: (condition) => (condition?.ifAbsent === true ? { 'x-oss-forbid-overwrite': 'true' } : {}),
  guard: (body, condition) => {
    const checksum = crc64Of(body);
    return {
      checksum,
      // What has arrived as something else must not be there then: it could not be replaced under the condition.
      headers: condition?.ifAbsent === true ? { 'content-md5': md5Of(body, 'base64') } : {},
      isIntact: ({ headers }) => isIntact(headers, checksum),
      isOf: (headers) => toldCrc(headers) === checksum,
    };
  },
  isIntact: (data, _, headers) => toldCrc(headers) === undefined || isIntact(headers, crc64Of([data])),
  copiedSum: (_, headers) => toldCrc(headers),
  /** Not in the quiet way, in which an answer without a word means that all are gone. */
  removeMany: async (bucket, keys, c) => {
    const usual = removalOf(bucket, keys, false);
    const call = { ...usual, query: [...(usual.query ?? []), ['encoding-type', 'url'] as const] };
    const answer = await bucket.call(call, c);
    if (answer.refusal !== undefined) {
      const error = bucket.refused(answer, answer.refusal, call);
      // Of a thousand there may be one that must not go: which, is told one by one.
      if (error.failure === 'DENIED' || error.failure === 'READ_ONLY') return { left: [], alone: keys };
      throw error;
    }
    const document = documentOf(answer.body, call.action);
    const decode = decoderOf(document);
    const gone = new Set(childrenOf(document, 'Deleted').map((deleted) => decode(textOf(deleted, 'Key'))));
    // It does not say why the others are left: asked for one by one it does.
    return { left: [], alone: keys.filter((key) => !gone.has(key)) };
  },
  /** The checksums of parts add up to that of the whole. */
  complete: async (bucket, completion, c) => {
    const { key, parts, size, call } = completion;
    const crc = crcOfParts(parts);
    const answer = await bucket.call(call, c);
    if (answer.refusal === undefined) {
      if (!isIntact(answer.headers, crc)) throw bucket.damaged(call);
      return { key, size, etag: await etagOf(bucket, answer, completion, c), modified: dateOf(answer.headers) };
    }
    const error = bucket.refused(answer, answer.refusal, call);
    const isOpen = error.failure === 'NOT_FOUND' || (error.failure === 'CONFLICT' && answer.repeated);
    // It may have been completed by a request of ours whose answer was lost.
    const there = isOpen && crc !== undefined ? await bucket.head(key, true, c) : undefined;
    const facts: ObjectFacts | undefined = there && bucket.detailsOf(key, there);
    if (there !== undefined && toldCrc(there) === crc && facts?.size === size) return facts;
    throw error;
  },
  creation: () => ({}),
  // It does not say whose it is.
  ownerOf: ({ code }) => (code === 'BucketAlreadyExists' ? 'unsaid' : 'others'),
};

const etagOf = async (bucket: Bucket, answer: StoreAnswer, { key, call }: Completion, c: Context): Promise<string> => {
  const told = answer.headers.get('etag') ?? textOf(documentOf(answer.body, call.action), 'ETag');
  if (told !== '') return bareEtag(told);
  const there = await bucket.head(key, false, c);
  return there === undefined ? '' : bucket.detailsOf(key, there).etag;
};
