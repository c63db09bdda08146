import { type Context, remaining, sleep } from '../../shared/context.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { BucketAddress } from './addressing.ts';
import type { Caller, StoreAnswer, StoreCall } from './call.ts';
import type { HttpHead } from './http/message.ts';
import { type Refusal, refusalOf, verdictOf } from './refusal.ts';
import { detailsOf, documentOf } from './s3-answers.ts';
import { refused } from './s3-failure.ts';
import { crc32Of, md5Of } from './s3-guard.ts';
import type { NewObject, ObjectDetails, StoreError, WriteCondition } from './store.ts';
import type { Vendor } from './vendors.ts';
import type { XmlElement } from './xml.ts';

export interface S3Options {
  readonly bucket: string;
  readonly region: string;
  readonly vendor: Vendor;
  readonly caller: Caller;
  readonly address: BucketAddress;
  readonly sse?: { readonly algorithm: string; readonly keyId?: string };
  readonly storageClass?: string;
  readonly requesterPays?: boolean;
  /** How long the check of the bucket waits, in milliseconds; usually 5 s. */
  readonly checkMs?: number;
}

/** A request to an object, by its key, or to the bucket: then the key is that of the back-off. */
export interface S3Call extends Omit<StoreCall, 'address'> {
  readonly ofBucket?: true;
}

type Headers = Readonly<Record<string, string>>;

/** Of requests whose answer came with status 200 and was an error all the same, or whose body was damaged on the way. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 100;

/** Asks S3 about one bucket. */
export class S3Bucket {
  readonly name: string;
  readonly options: S3Options;
  readonly #every: Headers;

  constructor(options: S3Options) {
    this.options = options;
    this.name = `s3://${options.bucket}`;
    this.#every = options.requesterPays === true ? { 'x-amz-request-payer': 'requester' } : {};
  }

  get vendor(): Vendor {
    return this.options.vendor;
  }

  /** Any answer, errors too. Throws StoreError, for what is no answer. */
  call(call: S3Call, c: Context): Promise<StoreAnswer> {
    const address = this.options.address.of(call.ofBucket === true ? '' : call.key);
    return this.options.caller.call({ ...call, address, headers: { ...this.#every, ...call.headers } }, c);
  }

  /** An answer that is none of an error. Throws StoreError. */
  async ask(call: S3Call, c: Context): Promise<StoreAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.call(call, c);
      if (answer.refusal === undefined) return answer;
      const error = this.refused(answer, answer.refusal, call);
      // Our bytes arrived as others: they may do better the next time.
      if (error.failure !== 'DAMAGED' || attempt >= ATTEMPTS) throw error;
    }
  }

  /** The document of an answer, where S3 may send an error with status 200. */
  async askDocument(
    call: S3Call,
    c: Context,
  ): Promise<{ readonly answer: StoreAnswer; readonly document: XmlElement }> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.ask(call, c);
      // Some say nothing where there is nothing to say.
      const body = answer.body.length === 0 ? Buffer.from('<Nothing/>') : answer.body;
      const document = documentOf(body, call.action);
      if (document.name !== 'Error') return { answer, document };
      const refusal = refusalOf(answer);
      const passes = verdictOf(call.method, { ...refusal, status: 400 }, undefined, undefined);
      const isPassing = passes === 'slow' || passes === 'failed';
      const error = this.refused(answer, { ...refusal, status: isPassing ? 500 : 400 }, call);
      const pause = pauseMs(attempt, { firstMs: FIRST_PAUSE_MS });
      if (!isPassing || attempt >= ATTEMPTS || pause >= remaining(c)) throw error;
      await sleep(pause, c).catch(() => Promise.reject(error));
    }
  }

  /** The head of an object; undefined: there is no object. `withSum`: and its checksum, if it has one. */
  async head(key: string, withSum: boolean, c: Context): Promise<HttpHead['headers'] | undefined> {
    const headers = { ...(withSum && this.vendor.guard === 'crc32' && { 'x-amz-checksum-mode': 'ENABLED' }) };
    const call: S3Call = { action: 's3:GetObject', method: 'HEAD', key, headers };
    const answer = await this.call(call, c);
    if (answer.refusal === undefined) return answer.headers;
    if (answer.refusal.status === 404) return undefined;
    throw this.refused(answer, answer.refusal, call);
  }

  /** The object there, if it has the checksum or the ETag that is given: what was written may be told by the one or the other. */
  async same(
    key: string,
    { crc32, etag }: { readonly crc32: string | undefined; readonly etag: string | undefined },
    c: Context,
  ): Promise<ObjectDetails | undefined> {
    const headers = await this.head(key, true, c);
    if (headers === undefined) return undefined;
    const there = detailsOf(key, headers);
    const sum = headers.get('x-amz-checksum-crc32');
    const isSame = sum === undefined || crc32 === undefined ? there.etag.toLowerCase() === etag : sum === crc32;
    return isSame ? there : undefined;
  }

  refused(answer: StoreAnswer, refusal: Refusal, call: S3Call): StoreError {
    const { address, region } = this.options;
    return refused(answer, refusal, { ...call, address: address.of('') }, { name: this.name, region });
  }

  /** `prefix`: of the headers' names. */
  conditions({ ifMatch, ifAbsent = false }: WriteCondition = {}, prefix = ''): Headers {
    const etag = this.vendor.bareEtags ? ifMatch : `"${ifMatch}"`;
    return {
      ...(ifMatch !== undefined && etag !== undefined && { [`${prefix}if-match`]: etag }),
      ...(ifAbsent && { [`${prefix}if-none-match`]: '*' }),
    };
  }

  /** What is said of a new object, with how and where it is kept. */
  describing({ meta, contentType, web }: Omit<NewObject, 'condition'>): Headers {
    const { sse, storageClass } = this.options;
    const headers: Record<string, string> = { ...web };
    for (const [name, value] of Object.entries(meta)) headers[`x-amz-meta-${name}`] = value;
    if (contentType !== undefined) headers['content-type'] = contentType;
    if (storageClass !== undefined) headers['x-amz-storage-class'] = storageClass;
    if (sse === undefined) return headers;
    headers['x-amz-server-side-encryption'] = sse.algorithm;
    if (sse.keyId !== undefined) headers['x-amz-server-side-encryption-aws-kms-key-id'] = sse.keyId;
    return headers;
  }

  /** What guards a body on its way. */
  guarding(body: readonly Buffer[]): Headers {
    if (this.vendor.guard === 'crc32') return { 'x-amz-checksum-crc32': crc32Of(body) };
    return { 'content-md5': md5Of(body, 'base64') };
  }

  /** The source of a copy, which is of this bucket. */
  copying(key: string, ifMatch: string | undefined): Headers {
    return {
      'x-amz-copy-source': this.options.address.of(key).resource,
      ...(ifMatch !== undefined && { 'x-amz-copy-source-if-match': `"${ifMatch}"` }),
    };
  }
}
