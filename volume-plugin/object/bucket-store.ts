import { type Context, newContext } from '../../shared/context.ts';
import { bareEtag, dateOf, documentOf, listingOf, resultOf } from './answers.ts';
import { sizeOf } from './body.ts';
import { Bucket, type BucketCall, type BucketOptions } from './bucket.ts';
import { SERVER_SIDE_MS, type StoreAnswer } from './call.ts';
import { mustBeKey, mustBeMeta } from './checking.ts';
import { Deletions } from './deletions.ts';
import type { Dialect, Guard } from './dialect.ts';
import type { HttpHead } from './http/message.ts';
import {
  type CopyOptions,
  conflict,
  type GetOptions,
  type Got,
  type Left,
  type ListOptions,
  type NewObject,
  type ObjectDetails,
  type ObjectFacts,
  type ObjectStore,
  type Page,
  type Part,
  type PartSource,
  type Range,
  StoreError,
  type StoreLimits,
  type Unfinished,
  type WriteCondition,
} from './store.ts';
import { Uploads } from './uploads.ts';
import { childOf } from './xml.ts';

const MIB = 2 ** 20;
const PAGE = 1_000;
const CHECK_MS = 5_000;
/** Of a read whose bytes do not have their checksum. */
const READS = 3;
/** Node's buffers have no more. */
const LONGEST_GET = 4 * 2 ** 30;

/** A bucket of S3 or OSS. */
export class BucketStore implements ObjectStore {
  readonly name: string;
  readonly limits: StoreLimits;
  readonly #dialect: Dialect;
  readonly #bucket: Bucket;
  readonly #uploads: Uploads;
  readonly #deletions: Deletions;
  /** It knows listings of version 2: old servers answer as if they were asked for version 1. */
  #hasTokens = true;

  constructor(options: BucketOptions, dialect: Dialect) {
    this.#dialect = dialect;
    this.#bucket = new Bucket(options, dialect);
    this.#uploads = new Uploads(this.#bucket);
    this.#deletions = new Deletions(this.#bucket);
    this.name = this.#bucket.name;
    this.limits = dialect.limits;
  }

  async get(key: string, options: GetOptions, c: Context): Promise<Got> {
    mustBeKey(key);
    if (options.range !== undefined && options.range.length <= 0) return this.#nothing(key, options.ifMatch, c);
    for (let read = 1; ; read += 1) {
      const got = await this.#get(key, options, c);
      if (got !== 'damaged') return got;
      if (read === READS) {
        throw new StoreError('DAMAGED', `the bytes of ${this.name}/${key} do not have their checksum`, { key });
      }
      c.log.warn('bytes of an object do not have their checksum', { store: this.name, key, read });
    }
  }

  /** The checksum is that of the whole object: parts of one are checked by their length alone. */
  async #get(key: string, { range, ifMatch, into }: GetOptions, c: Context): Promise<Got | 'damaged'> {
    const { summed, ranged } = this.#dialect;
    const call: BucketCall = {
      ...{ action: this.#bucket.action('GetObject'), method: 'GET', key, hedged: true },
      headers: {
        ...(range === undefined
          ? summed
          : { range: `bytes=${range.offset}-${range.offset + range.length - 1}`, ...ranged }),
        ...(ifMatch !== undefined && { 'if-match': `"${ifMatch}"` }),
      },
      ...(into !== undefined && { into: (head: HttpHead) => placeFor(head, range, into) }),
      longest: range === undefined ? LONGEST_GET : Math.max(range.length, 64 * MIB),
    };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal !== undefined) {
      if (answer.refusal.status === 416) return this.#nothing(key, ifMatch, c);
      throw this.#bucket.refused(answer, answer.refusal, call);
    }
    const details = this.#bucket.detailsOf(key, answer.headers);
    // Not every vendor heeds the condition.
    if (ifMatch !== undefined && details.etag !== ifMatch) throw conflict(key);
    const data = rangeOf(answer, range);
    const offset = Math.min(range?.offset ?? 0, details.size);
    const expected = Math.min(range?.length ?? details.size, details.size - offset);
    if (data === undefined || data.length !== expected) return 'damaged';
    if (data.length === details.size && !this.#dialect.isIntact(data, details, answer.headers)) return 'damaged';
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
    return headers && this.#bucket.detailsOf(key, headers);
  }

  async put(key: string, body: readonly Buffer[], object: NewObject, c: Context): Promise<ObjectFacts> {
    mustBeKey(key);
    mustBeMeta(object.meta, this.limits.metaMax, key);
    const condition = await this.#condition(key, object.condition, this.limits.conditionalPut, c);
    const guard = this.#dialect.guard(body, condition);
    const call: BucketCall = {
      ...{ action: this.#bucket.action('PutObject'), method: 'PUT', key, body },
      headers: { ...this.#bucket.describing(object), ...guard.headers, ...this.#dialect.conditions(condition) },
    };
    const answer = await this.#written(call, condition, guard, c);
    if (answer === 'lost') return this.#ours(key, guard, object, c);
    const etag = bareEtag(answer.headers.get('etag') ?? '');
    return { key, size: sizeOf(body), etag, modified: dateOf(answer.headers) };
  }

  /** `condition`: what the store heeds of it. One that does not hold may be our own doing, by an earlier attempt whose answer was lost: that is `lost`. */
  async #written(
    call: BucketCall,
    condition: WriteCondition | undefined,
    { isIntact }: Guard,
    c: Context,
  ): Promise<StoreAnswer | 'lost'> {
    if (condition === undefined) return this.#bucket.ask(call, c, isIntact);
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) {
      if (isIntact(answer)) return answer;
      throw this.#bucket.damaged(call);
    }
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure === 'DAMAGED') return this.#bucket.ask(call, c, isIntact);
    // Of an object that must be there S3 says that there is none as if it was to be read.
    const isGone = error.failure === 'NOT_FOUND' && condition.ifMatch !== undefined;
    if (error.failure !== 'CONFLICT' && !isGone) throw error;
    if (!answer.repeated) throw conflict(call.key ?? '', error);
    return 'lost';
  }

  /** The object there, if it is what this write would have made; else CONFLICT. */
  async #ours(key: string, guard: Guard, { meta }: NewObject, c: Context): Promise<ObjectFacts> {
    const headers = await this.#bucket.head(key, true, c);
    if (headers === undefined || !guard.isOf(headers)) throw conflict(key);
    const there = this.#bucket.detailsOf(key, headers);
    if (!Object.entries(meta).every(([name, value]) => there.meta[name] === value)) throw conflict(key);
    return { key, size: there.size, etag: there.etag, modified: there.modified };
  }

  /** What is left for the store to heed; where it heeds none, a look comes before the write. Throws CONFLICT. */
  async #condition(
    key: string,
    condition: WriteCondition | undefined,
    canHeed: boolean,
    c: Context,
  ): Promise<WriteCondition | undefined> {
    if (condition === undefined || canHeed) return condition;
    const { ifMatch, ifAbsent = false } = condition;
    if (ifMatch === undefined && this.#dialect.heedsAbsence) return condition;
    const there = await this.head(key, c);
    if ((ifAbsent && there !== undefined) || (ifMatch !== undefined && there?.etag !== ifMatch)) throw conflict(key);
    return undefined;
  }

  async copy(from: string, to: string, options: CopyOptions, c: Context): Promise<ObjectFacts> {
    mustBeKey(from);
    mustBeKey(to);
    const { replace, ifSourceMatch, sourceSize } = options;
    if (replace !== undefined) mustBeMeta(replace.meta, this.limits.metaMax, to);
    const condition = await this.#condition(to, options.condition, this.limits.conditionalCopy, c);
    const call: BucketCall = {
      ...{ action: this.#bucket.action('PutObject'), method: 'PUT', key: to, patienceMs: SERVER_SIDE_MS },
      headers: {
        ...this.#bucket.copying(from, ifSourceMatch),
        ...this.#bucket.describing(replace ?? { meta: {} }),
        ...(replace !== undefined && { [`${this.#dialect.prefix}metadata-directive`]: 'REPLACE' }),
        ...this.#dialect.conditions(condition, true),
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

  removeAll(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    return this.#deletions.all(keys, c);
  }

  list(prefix: string, options: ListOptions, c: Context): Promise<Page> {
    return this.#list(prefix, options, false, c);
  }

  /** `atOnce`: see StoreCall. */
  async #list(prefix: string, options: ListOptions, atOnce: boolean, c: Context): Promise<Page> {
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
    const action = this.#dialect.actions.list;
    const call: BucketCall = { action, method: 'GET', key: prefix, ofBucket: true, query, atOnce };
    const answer = await this.#bucket.ask(call, c);
    const document = documentOf(answer.body, call.action);
    if (hasTokens && childOf(document, 'Marker') !== undefined && childOf(document, 'KeyCount') === undefined) {
      this.#hasTokens = false;
      return this.#list(prefix, options, atOnce, c);
    }
    const page = listingOf(document, hasTokens);
    if (page.next === undefined || page.next !== from) return page;
    throw new StoreError('UNREACHABLE', `${this.name} answers with the same page of a listing again and again`);
  }

  async beginUpload(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    mustBeKey(key);
    mustBeMeta(object.meta, this.limits.metaMax, key);
    return this.#uploads.begin(key, object, c);
  }

  uploadPart(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    return this.#uploads.part(key, id, number, body, c);
  }

  copyPart(key: string, id: string, number: number, source: PartSource, c: Context): Promise<Part> {
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
      await this.#list(prefix, { limit: 1 }, true, soon);
    } catch (error) {
      // It is the time of this check that has ended, and not the caller's.
      if (!(error instanceof StoreError) || error.failure !== 'DEADLINE' || c.signal.aborted) throw error;
      const text = `${address.origin.key} has not answered within ${checkMs / 1000} s`;
      throw new StoreError('UNREACHABLE', text, { cause: error });
    }
  }

  async createBucket(c: Context): Promise<void> {
    const call: BucketCall = {
      ...{ action: this.#dialect.actions.create, method: 'PUT', ofBucket: true },
      ...this.#dialect.creation(this.#bucket.options.region),
    };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const owner = this.#dialect.ownerOf(answer.refusal);
    if (owner === 'us') return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (owner === 'others') throw error;
    await this.check(c).catch(() => Promise.reject(error));
  }

  async removeBucket(c: Context): Promise<void> {
    await this.#bucket.ask({ action: this.#bucket.action('DeleteBucket'), method: 'DELETE', ofBucket: true }, c);
  }

  async close(): Promise<void> {
    this.#bucket.options.caller.close();
  }
}

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
