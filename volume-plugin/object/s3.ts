import { type Context, newContext } from '../../shared/context.ts';
import { SERVER_SIDE_MS, type StoreAnswer } from './call.ts';
import { mustBeKey, mustBeMeta } from './checking.ts';
import type { HttpHead } from './http/message.ts';
import { bareEtag, dateOf, detailsOf, documentOf, listingOf, resultOf } from './s3-answers.ts';
import { S3Bucket, type S3Call, type S3Options } from './s3-bucket.ts';
import { S3Deletions } from './s3-deletions.ts';
import { crc32Of, isIntact, md5Of } from './s3-guard.ts';
import { S3Uploads } from './s3-uploads.ts';
import {
  type CopyOptions,
  type Got,
  type ListOptions,
  type NewObject,
  type ObjectDetails,
  type ObjectFacts,
  type ObjectStore,
  type Page,
  type Part,
  type Range,
  StoreError,
  type StoreLimits,
  type Unfinished,
  type WriteCondition,
} from './store.ts';
import { childOf } from './xml.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const PAGE = 1_000;
const CHECK_MS = 5_000;
/** Of a read whose bytes do not have their checksum. */
const READS = 3;
/** Node's buffers have no more. */
const LONGEST_GET = 4 * GIB;

interface GetOptions {
  readonly range?: Range;
  readonly ifMatch?: string;
  readonly into?: Buffer;
}

/** A bucket of S3, or of whoever speaks it. */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly limits: StoreLimits;
  readonly #bucket: S3Bucket;
  readonly #uploads: S3Uploads;
  readonly #deletions: S3Deletions;
  /** It knows listings of version 2: old servers answer as if they were asked for version 1. */
  #hasTokens = true;

  constructor(options: S3Options) {
    const { copyMax, metaMax, conditions, copyPart, equalParts } = options.vendor;
    this.#bucket = new S3Bucket(options);
    this.name = this.#bucket.name;
    this.#uploads = new S3Uploads(this.#bucket);
    this.#deletions = new S3Deletions(this.#bucket);
    this.limits = {
      ...{ partMin: 5 * MIB, partMax: 5 * GIB, parts: 10_000, putMax: 5 * GIB, copyMax, metaMax },
      ...{ conditionalPut: conditions.put, conditionalCopy: conditions.copy, conditionalComplete: conditions.complete },
      ...{ copyPart, equalParts },
    };
  }

  async get(key: string, options: GetOptions, c: Context): Promise<Got> {
    mustBeKey(key);
    if (options.range !== undefined && options.range.length <= 0) return this.#nothing(key, options.ifMatch, c);
    for (let read = 1; ; read += 1) {
      const got = await this.#get(key, options, c);
      if (got !== 'damaged') return got;
      if (read === READS)
        throw new StoreError('DAMAGED', `the bytes of ${this.name}/${key} do not have their checksum`, { key });
      c.log.warn('bytes of an object do not have their checksum', { store: this.name, key, read });
    }
  }

  async #get(key: string, { range, ifMatch, into }: GetOptions, c: Context): Promise<Got | 'damaged'> {
    const call: S3Call = {
      ...{ action: 's3:GetObject', method: 'GET', key, hedged: true },
      headers: {
        ...(range !== undefined && { range: `bytes=${range.offset}-${range.offset + range.length - 1}` }),
        ...(ifMatch !== undefined && { 'if-match': `"${ifMatch}"` }),
        ...(range === undefined && this.#bucket.vendor.guard === 'crc32' && { 'x-amz-checksum-mode': 'ENABLED' }),
      },
      ...(into !== undefined && { into: (head: HttpHead) => placeFor(head, range, into) }),
      longest: range === undefined ? LONGEST_GET : Math.max(range.length, 64 * MIB),
    };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal !== undefined) {
      if (answer.refusal.status === 416) return this.#nothing(key, ifMatch, c);
      throw this.#bucket.refused(answer, answer.refusal, call);
    }
    const details = detailsOf(key, answer.headers);
    // Not every vendor heeds the condition.
    if (ifMatch !== undefined && details.etag !== ifMatch) throw conflict(key);
    const data = rangeOf(answer, range);
    const offset = Math.min(range?.offset ?? 0, details.size);
    if (data === undefined || data.length !== Math.min(range?.length ?? details.size, details.size - offset))
      return 'damaged';
    const told = { headers: answer.headers, etag: details.etag, md5Etags: this.#bucket.vendor.md5Etags };
    if (data.length === details.size && isIntact([data], told) === false) return 'damaged';
    return { details, data: data.length === 0 ? [] : [data] };
  }

  /** A range without bytes: there is no request for one. */
  async #nothing(key: string, ifMatch: string | undefined, c: Context): Promise<Got> {
    const details = await this.head(key, c);
    if (details === undefined) throw new StoreError('NOT_FOUND', `there is no ${key} in ${this.name}`, { key });
    if (ifMatch !== undefined && details.etag !== ifMatch) throw conflict(key);
    return { details, data: [] };
  }

  async head(key: string, c: Context): Promise<ObjectDetails | undefined> {
    mustBeKey(key);
    const headers = await this.#bucket.head(key, false, c);
    return headers === undefined ? undefined : detailsOf(key, headers);
  }

  async put(key: string, body: readonly Buffer[], object: NewObject, c: Context): Promise<ObjectFacts> {
    mustBeKey(key);
    mustBeMeta(object.meta, this.limits.metaMax, key);
    const condition = await this.#condition(key, object.condition, this.limits.conditionalPut, c);
    const call: S3Call = {
      ...{ action: 's3:PutObject', method: 'PUT', key, body },
      headers: {
        ...this.#bucket.describing(object),
        ...this.#bucket.guarding(body),
        ...this.#bucket.conditions(condition),
      },
    };
    const size = body.reduce((sum, { length }) => sum + length, 0);
    const answer = await this.#asked(call, condition, c);
    if (answer === 'conflict') {
      const ours = await this.#ours(key, body, object, c);
      if (ours === undefined) throw conflict(key);
      return ours;
    }
    return { key, size, etag: bareEtag(answer.headers.get('etag') ?? ''), modified: dateOf(answer.headers) };
  }

  /** A write under a condition that does not hold may be one that was carried out by an earlier attempt: then `conflict` is answered, else thrown. */
  async #asked(call: S3Call, condition: WriteCondition | undefined, c: Context): Promise<StoreAnswer | 'conflict'> {
    if (condition === undefined) return this.#bucket.ask(call, c);
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return answer;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    // Of an object that must be there S3 says that there is none as if it was to be read.
    const isConflict = error.failure === 'CONFLICT' || error.failure === 'NOT_FOUND';
    if (error.failure === 'DAMAGED') return this.#bucket.ask(call, c);
    if (isConflict && answer.repeated) return 'conflict';
    throw isConflict ? conflict(call.key ?? '', error) : error;
  }

  /** The object there, if it is what this write would have made. */
  async #ours(key: string, body: readonly Buffer[], { meta }: NewObject, c: Context): Promise<ObjectFacts | undefined> {
    const there = await this.#bucket.same(key, { crc32: crc32Of(body), etag: md5Of(body, 'hex') }, c);
    const isSame = there !== undefined && Object.entries(meta).every(([name, value]) => there.meta[name] === value);
    return isSame ? { key, size: there.size, etag: there.etag, modified: there.modified } : undefined;
  }

  /** What is left for the store to heed; where it heeds none, a look comes before the write. Throws CONFLICT. */
  async #condition(
    key: string,
    condition: WriteCondition | undefined,
    canHeed: boolean,
    c: Context,
  ): Promise<WriteCondition | undefined> {
    if (condition === undefined || canHeed) return condition;
    const there = await this.head(key, c);
    const holds = condition.ifAbsent === true ? there === undefined : true;
    if (!holds || (condition.ifMatch !== undefined && there?.etag !== condition.ifMatch)) throw conflict(key);
    return undefined;
  }

  async copy(from: string, to: string, options: CopyOptions, c: Context): Promise<ObjectFacts> {
    mustBeKey(from);
    mustBeKey(to);
    const { replace, ifSourceMatch, sourceSize } = options;
    if (replace !== undefined) mustBeMeta(replace.meta, this.limits.metaMax, to);
    const condition = await this.#condition(to, options.condition, this.limits.conditionalCopy, c);
    const call: S3Call = {
      ...{ action: 's3:PutObject', method: 'PUT', key: to, patienceMs: SERVER_SIDE_MS },
      headers: {
        ...this.#bucket.copying(from, ifSourceMatch),
        ...this.#bucket.describing(replace ?? { meta: {} }),
        ...(replace !== undefined && { 'x-amz-metadata-directive': 'REPLACE' }),
        ...this.#bucket.conditions(condition, this.#bucket.vendor.copyConditionPrefix),
      },
    };
    try {
      const { answer, document } = await this.#bucket.askDocument(call, c);
      const { etag, modified = dateOf(answer.headers) } = resultOf(document);
      const size = sourceSize ?? (await this.head(to, c))?.size ?? 0;
      return { key: to, size, etag, modified };
    } catch (error) {
      // Was it the source or the target that is not there?
      const isTarget = condition?.ifMatch !== undefined && error instanceof StoreError && error.failure === 'NOT_FOUND';
      throw isTarget && (await this.head(from, c)) !== undefined ? conflict(to, error) : error;
    }
  }

  async remove(key: string, c: Context): Promise<void> {
    mustBeKey(key);
    await this.#deletions.one(key, c);
  }

  removeAll(keys: readonly string[], c: Context): Promise<readonly { key: string; reason: StoreError }[]> {
    return this.#deletions.all(keys, c);
  }

  async list(prefix: string, options: ListOptions, c: Context): Promise<Page> {
    const { delimiter, from, after, limit = PAGE } = options;
    const hasTokens = this.#hasTokens;
    const query: (readonly [string, string])[] = [
      ...(hasTokens ? [['list-type', '2'] as const] : []),
      ['encoding-type', 'url'],
      ['max-keys', String(Math.min(limit, PAGE))],
      ['prefix', prefix],
    ];
    if (delimiter !== undefined) query.push(['delimiter', delimiter]);
    if (from !== undefined) query.push([hasTokens ? 'continuation-token' : 'marker', from]);
    else if (after !== undefined && after !== '') query.push([hasTokens ? 'start-after' : 'marker', after]);
    const call: S3Call = { action: 's3:ListBucket', method: 'GET', key: prefix, ofBucket: true, query };
    const answer = await this.#bucket.ask(call, c);
    const document = documentOf(answer.body, call.action);
    if (hasTokens && childOf(document, 'Marker') !== undefined && childOf(document, 'KeyCount') === undefined) {
      this.#hasTokens = false;
      return this.list(prefix, options, c);
    }
    const page = listingOf(document, hasTokens);
    if (page.next === undefined || page.next !== from) return page;
    throw new StoreError('UNREACHABLE', `${this.name} answers with the same page of a listing again and again`);
  }

  beginUpload(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    return this.#uploads.begin(key, object, c);
  }

  uploadPart(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    return this.#uploads.part(key, id, number, body, c);
  }

  copyPart(
    key: string,
    id: string,
    number: number,
    source: { readonly key: string; readonly range: Range; readonly ifMatch: string },
    c: Context,
  ): Promise<Part> {
    return this.#uploads.copyPart(key, id, number, source, c);
  }

  async completeUpload(
    key: string,
    id: string,
    parts: readonly Part[],
    asked: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts> {
    const condition = await this.#condition(key, asked, this.limits.conditionalComplete, c);
    return this.#uploads.complete(key, id, parts, condition, c);
  }

  abortUpload(key: string, id: string, c: Context): Promise<void> {
    return this.#uploads.abort(key, id, c);
  }

  unfinished(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    return this.#uploads.list(prefix, c);
  }

  async check(c: Context, prefix = ''): Promise<void> {
    const { checkMs = CHECK_MS, address } = this.#bucket.options;
    const soon = newContext(c.log, checkMs, c);
    try {
      await this.list(prefix, { limit: 1 }, soon);
    } catch (error) {
      // It is the time of this check that has ended, and not the caller's.
      if (!(error instanceof StoreError) || error.failure !== 'DEADLINE' || c.signal.aborted) throw error;
      const text = `${address.origin.key} has not answered within ${checkMs / 1000} s`;
      throw new StoreError('UNREACHABLE', text, { cause: error });
    }
  }

  async createBucket(c: Context): Promise<void> {
    const { region, vendor } = this.#bucket.options;
    const isNamed = vendor.locationUnless !== undefined && vendor.locationUnless !== region;
    const xmlns = 'http://s3.amazonaws.com/doc/2006-03-01/';
    const text = `<CreateBucketConfiguration xmlns="${xmlns}"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
    const call: S3Call = {
      ...{ action: 's3:CreateBucket', method: 'PUT', ofBucket: true },
      ...(isNamed && { headers: { 'content-type': 'application/xml' }, body: [Buffer.from(text)] }),
    };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined || answer.refusal.code === 'BucketAlreadyOwnedByYou') return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (answer.refusal.status !== 409 || vendor.tellsOwner) throw error;
    await this.check(c).catch(() => Promise.reject(error));
  }

  async removeBucket(c: Context): Promise<void> {
    await this.#bucket.ask({ action: 's3:DeleteBucket', method: 'DELETE', ofBucket: true }, c);
  }

  async close(): Promise<void> {
    this.#bucket.options.caller.close();
  }
}

const conflict = (key: string, cause?: unknown): StoreError =>
  new StoreError('CONFLICT', `${key} is not what it was`, { key, cause });

/** The caller's memory, when the answer is what was asked for and fits. */
const placeFor = ({ status, length }: HttpHead, range: Range | undefined, into: Buffer): Buffer | undefined =>
  (range === undefined || status === 206) && length !== undefined && length <= into.length ? into : undefined;

/** The bytes that were asked for; undefined: the answer is about others. */
const rangeOf = ({ status, headers, body }: StoreAnswer, range: Range | undefined): Buffer | undefined => {
  if (range === undefined) return body;
  // Servers may answer with all of it.
  if (status !== 206) return body.subarray(range.offset, range.offset + range.length);
  const begin = /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1];
  return Number(begin) === range.offset ? body : undefined;
};
