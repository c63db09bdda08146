import { type Context, newContext } from '../../shared/context.ts';
import { bareEtag, dateOf, describedBy, documentOf, listingOf } from './answers.ts';
import { SERVER_SIDE_MS, type StoreAnswer } from './call.ts';
import { mustBeKey, mustBeMeta } from './checking.ts';
import type { HttpHead } from './http/message.ts';
import { conditionHeaders, OssBucket, type OssCall, type OssOptions } from './oss-bucket.ts';
import { OssDeletions } from './oss-deletions.ts';
import { crc64Of, isIntact, md5Of, toldCrc } from './oss-guard.ts';
import { OssUploads } from './oss-uploads.ts';
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
import { textOf } from './xml.ts';

const KIB = 2 ** 10;
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

/** A write under a condition, and what of the condition the store has heeded itself. */
interface Heeded {
  readonly answer: StoreAnswer;
  readonly lost: boolean;
}

/**
 * A bucket of Aliyun OSS, by its own interface. It knows one condition for writes: that there is no object of that key
 * (`x-oss-forbid-overwrite`); for another a look comes before the write.
 * https://www.alibabacloud.com/help/en/oss/developer-reference/list-of-operations-by-function
 */
export class OssStore implements ObjectStore {
  readonly name: string;
  readonly limits: StoreLimits = {
    ...{ partMin: 100 * KIB, partMax: 5 * GIB, parts: 10_000, putMax: 5 * GIB, copyMax: GIB, metaMax: 8 * KIB },
    ...{ conditionalPut: false, conditionalCopy: false, conditionalComplete: false },
    ...{ copyPart: true, equalParts: false },
  };
  readonly #bucket: OssBucket;
  readonly #uploads: OssUploads;
  readonly #deletions: OssDeletions;

  constructor(options: OssOptions) {
    this.#bucket = new OssBucket(options);
    this.name = this.#bucket.name;
    this.#deletions = new OssDeletions(this.#bucket);
    this.#uploads = new OssUploads(this.#bucket, this.limits.metaMax, async (key, c) => {
      const answer = await this.#head(key, c);
      return answer && { facts: detailsOf(key, answer.headers), crc: toldCrc(answer.headers) };
    });
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

  /** OSS tells the checksum of the whole object: parts of one are checked by their length alone. */
  async #get(key: string, { range, ifMatch, into }: GetOptions, c: Context): Promise<Got | 'damaged'> {
    const call: OssCall = {
      ...{ action: 'oss:GetObject', method: 'GET', key, hedged: true },
      headers: {
        // Otherwise a range beyond the end is answered by the whole object.
        ...(range !== undefined && {
          range: `bytes=${range.offset}-${range.offset + range.length - 1}`,
          'x-oss-range-behavior': 'standard',
        }),
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
    const details = detailsOf(key, answer.headers);
    const data = rangeOf(answer, range);
    const offset = Math.min(range?.offset ?? 0, details.size);
    const expected = Math.min(range?.length ?? details.size, details.size - offset);
    if (data === undefined || data.length !== expected) return 'damaged';
    const isWhole = data.length === details.size && toldCrc(answer.headers) !== undefined;
    if (isWhole && !isIntact(answer.headers, crc64Of([data]))) return 'damaged';
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
    const answer = await this.#head(key, c);
    return answer && detailsOf(key, answer.headers);
  }

  async #head(key: string, c: Context): Promise<StoreAnswer | undefined> {
    const call: OssCall = { action: 'oss:GetObject', method: 'HEAD', key };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return answer;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure === 'NOT_FOUND') return undefined;
    throw error;
  }

  async put(key: string, body: readonly Buffer[], object: NewObject, c: Context): Promise<ObjectFacts> {
    mustBeKey(key);
    mustBeMeta(object.meta, this.limits.metaMax, key);
    const { condition } = object;
    await this.#look(key, condition, c);
    const crc = crc64Of(body);
    const call: OssCall = {
      ...{ action: 'oss:PutObject', method: 'PUT', key, body },
      headers: {
        ...this.#bucket.describing(object),
        ...conditionHeaders(condition),
        // What has arrived as something else must not be there then: it could not be replaced under the condition.
        ...(condition?.ifAbsent === true && { 'content-md5': md5Of(body) }),
      },
    };
    const { answer, lost } = await this.#asked(call, condition, (answer) => isIntact(answer.headers, crc), c);
    if (lost) return this.#ours(key, crc, object, c);
    const size = body.reduce((sum, { length }) => sum + length, 0);
    return { key, size, etag: bareEtag(answer.headers.get('etag') ?? ''), modified: dateOf(answer.headers) };
  }

  /** A condition that does not hold may be our own doing, by an earlier attempt whose answer was lost: that is `lost`. */
  async #asked(
    call: OssCall,
    condition: WriteCondition | undefined,
    isIntact: (answer: StoreAnswer) => boolean,
    c: Context,
  ): Promise<Heeded> {
    if (condition?.ifAbsent !== true) return { answer: await this.#bucket.ask(call, c, isIntact), lost: false };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined && isIntact(answer)) return { answer, lost: false };
    if (answer.refusal === undefined) throw this.#bucket.damaged(call);
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure === 'DAMAGED') return { answer: await this.#bucket.ask(call, c, isIntact), lost: false };
    if (error.failure !== 'CONFLICT') throw error;
    if (!answer.repeated) throw conflict(call.key ?? '', error);
    return { answer, lost: true };
  }

  /** The object there, if it is what this write would have made; else CONFLICT. */
  async #ours(key: string, crc: string, { meta }: NewObject, c: Context): Promise<ObjectFacts> {
    const there = await this.#head(key, c);
    if (there === undefined || toldCrc(there.headers) !== crc) throw conflict(key);
    const details = detailsOf(key, there.headers);
    if (!Object.entries(meta).every(([name, value]) => details.meta[name] === value)) throw conflict(key);
    return { key, size: details.size, etag: details.etag, modified: details.modified };
  }

  /** OSS cannot be told what must be there: a look before the write has to do. Throws CONFLICT. */
  async #look(key: string, condition: WriteCondition | undefined, c: Context): Promise<void> {
    if (condition?.ifMatch === undefined) return;
    if ((await this.head(key, c))?.etag !== condition.ifMatch) throw conflict(key);
  }

  async copy(from: string, to: string, options: CopyOptions, c: Context): Promise<ObjectFacts> {
    mustBeKey(from);
    mustBeKey(to);
    const { replace, ifSourceMatch, sourceSize, condition } = options;
    if (replace !== undefined) mustBeMeta(replace.meta, this.limits.metaMax, to);
    await this.#look(to, condition, c);
    const call: OssCall = {
      ...{ action: 'oss:PutObject', method: 'PUT', key: to, patienceMs: SERVER_SIDE_MS },
      headers: {
        ...this.#bucket.copying(from, ifSourceMatch),
        ...this.#bucket.describing(replace ?? { meta: {} }),
        ...(replace !== undefined && { 'x-oss-metadata-directive': 'REPLACE' }),
        ...conditionHeaders(condition),
      },
    };
    const answer = await this.#bucket.ask(call, c);
    const document = documentOf(answer.body, call.action);
    const modified = Date.parse(textOf(document, 'LastModified'));
    return {
      key: to,
      size: sourceSize ?? (await this.head(to, c))?.size ?? 0,
      etag: bareEtag(textOf(document, 'ETag')),
      modified: Number.isNaN(modified) ? dateOf(answer.headers) : modified,
    };
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
    const query: (readonly [string, string])[] = [
      ['list-type', '2'],
      ['encoding-type', 'url'],
      ['max-keys', String(Math.min(limit, PAGE))],
      ['prefix', prefix],
    ];
    if (delimiter !== undefined) query.push(['delimiter', delimiter]);
    if (from !== undefined) query.push(['continuation-token', from]);
    else if (after !== undefined && after !== '') query.push(['start-after', after]);
    const call: OssCall = { action: 'oss:ListObjects', method: 'GET', key: prefix, ofBucket: true, query };
    const answer = await this.#bucket.ask(call, c);
    return listingOf(documentOf(answer.body, call.action), true);
  }

  beginUpload(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    mustBeKey(key);
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
    condition: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts> {
    await this.#look(key, condition, c);
    return this.#uploads.complete(key, id, parts, condition, c);
  }

  abortUpload(key: string, id: string, c: Context): Promise<void> {
    return this.#uploads.abort(key, id, c);
  }

  unfinished(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    return this.#uploads.list(prefix, c);
  }

  async check(c: Context, prefix = ''): Promise<void> {
    const soon = newContext(c.log, CHECK_MS, c);
    try {
      await this.list(prefix, { limit: 1 }, soon);
    } catch (error) {
      // It is the time of this check that has ended, and not the caller's.
      if (!(error instanceof StoreError) || error.failure !== 'DEADLINE' || c.signal.aborted) throw error;
      const text = `${this.#bucket.options.address.origin.key} has not answered within ${CHECK_MS / 1000} s`;
      throw new StoreError('UNREACHABLE', text, { cause: error });
    }
  }

  async createBucket(c: Context): Promise<void> {
    const call: OssCall = { action: 'oss:PutBucket', method: 'PUT', ofBucket: true };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (answer.refusal.code !== 'BucketAlreadyExists') throw error;
    // It does not say whose it is.
    await this.check(c).catch(() => Promise.reject(error));
  }

  async removeBucket(c: Context): Promise<void> {
    await this.#bucket.ask({ action: 'oss:DeleteBucket', method: 'DELETE', ofBucket: true }, c);
  }

  async close(): Promise<void> {
    this.#bucket.options.caller.close();
  }
}

const detailsOf = (key: string, headers: ReadonlyMap<string, string>): ObjectDetails =>
  describedBy(key, headers, 'x-oss-meta-');

const conflict = (key: string, cause?: unknown): StoreError =>
  new StoreError('CONFLICT', `${key} is not what it was`, { key, cause });

/** The caller's memory, when the answer is what was asked for and fits. */
const placeFor = ({ status, length }: HttpHead, range: Range | undefined, into: Buffer): Buffer | undefined =>
  (range === undefined || status === 206) && length !== undefined && length <= into.length ? into : undefined;

/** The bytes that were asked for; undefined: the answer is about others. */
const rangeOf = ({ status, headers, body }: StoreAnswer, range: Range | undefined): Buffer | undefined => {
  if (range === undefined) return body;
  if (status !== 206) return body.subarray(range.offset, range.offset + range.length);
  const begin = /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1];
  return Number(begin) === range.offset ? body : undefined;
};
