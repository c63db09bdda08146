import { type Context, remaining, sleep } from '../../shared/context.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { BucketAddress } from './addressing.ts';
import { describedBy, documentOf } from './answers.ts';
import type { Caller, StoreAnswer, StoreCall } from './call.ts';
import type { AnswerHeaders, Dialect, Headers } from './dialect.ts';
import { type Refusal, refusalOf, verdictOf } from './refusal.ts';
import { type NewObject, type ObjectDetails, StoreError } from './store.ts';
import type { XmlElement } from './xml.ts';

export interface BucketOptions {
  readonly bucket: string;
  readonly region: string;
  readonly caller: Caller;
  readonly address: BucketAddress;
  /** OSS: `AES256`, `KMS` or `SM4`. */
  readonly sse?: { readonly algorithm: string; readonly keyId?: string };
  /** Of new objects, in the vendor's words. */
  readonly storageClass?: string;
  readonly requesterPays?: boolean;
  /** How long the check of the bucket waits, in milliseconds; usually 5 s. */
  readonly checkMs?: number;
}

/** A request to an object, by its key, or to the bucket: then the key is that of the back-off. */
export interface BucketCall extends Omit<StoreCall, 'address'> {
  readonly ofBucket?: true;
}

/** Of requests whose answer came with status 200 and was an error all the same, or whose body was damaged on the way. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 100;

/** Asks S3 or OSS about one bucket. */
export class Bucket {
  readonly name: string;
  readonly options: BucketOptions;
  readonly dialect: Dialect;
  readonly #every: Headers;

  constructor(options: BucketOptions, dialect: Dialect) {
    this.options = options;
    this.dialect = dialect;
    this.name = `${dialect.scheme}://${options.bucket}`;
    this.#every = options.requesterPays === true ? { [`${dialect.prefix}request-payer`]: 'requester' } : {};
  }

  /** Any answer, errors too. Throws StoreError, for what is no answer. */
  call(call: BucketCall, c: Context): Promise<StoreAnswer> {
    const address = this.options.address.of(call.ofBucket === true ? '' : call.key);
    return this.options.caller.call({ ...call, address, headers: { ...this.#every, ...call.headers } }, c);
  }

  /** An answer that is none of an error, and of what was sent (`isIntact`). Throws StoreError. */
  async ask(
    call: BucketCall,
    c: Context,
    isIntact: (answer: StoreAnswer) => boolean = () => true,
  ): Promise<StoreAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.call(call, c);
      if (answer.refusal === undefined && isIntact(answer)) return answer;
      const error = answer.refusal === undefined ? this.damaged(call) : this.refused(answer, answer.refusal, call);
      // Our bytes arrived as others: they may do better the next time.
      if (error.failure !== 'DAMAGED' || attempt >= ATTEMPTS) throw error;
      c.log.warn('bytes arrived at the store as others', { store: this.name, key: call.key, attempt });
    }
  }

  /** The document of an answer, where the store may send an error with status 200. */
  async askDocument(
    call: BucketCall,
    c: Context,
  ): Promise<{ readonly answer: StoreAnswer; readonly document: XmlElement }> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.ask(call, c);
      const isSilent = answer.body.length === 0 && this.dialect.isCurt;
      const document = documentOf(isSilent ? Buffer.from('<Nothing/>') : answer.body, call.action);
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

  /** For what is to be gone: succeeds when there is none. */
  async askGone(call: BucketCall, c: Context): Promise<void> {
    const answer = await this.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.refused(answer, answer.refusal, call);
    if (error.failure !== 'NOT_FOUND') throw error;
  }

  /** The head of an object; undefined: there is no object. `isSummed`: and its checksum, if it has one. */
  async head(key: string, isSummed: boolean, c: Context): Promise<AnswerHeaders | undefined> {
    const headers = isSummed ? this.dialect.summed : {};
    const call: BucketCall = { action: this.action('GetObject'), method: 'HEAD', key, headers };
    const answer = await this.call(call, c);
    if (answer.refusal === undefined) return answer.headers;
    const error = this.refused(answer, answer.refusal, call);
    if (error.failure === 'NOT_FOUND') return undefined;
    throw error;
  }

  /** What the head of an answer to GET and HEAD says of an object. */
  detailsOf(key: string, headers: AnswerHeaders): ObjectDetails {
    return describedBy(key, headers, `${this.dialect.prefix}meta-`);
  }

  /** The name of a permission. */
  action(name: string): string {
    return `${this.dialect.scheme}:${name}`;
  }

  damaged({ action, key = '' }: BucketCall): StoreError {
    const text = `${action} of ${this.name}/${key}: what the store has does not have the checksum of what was sent`;
    return new StoreError('DAMAGED', text, { key });
  }

  refused(answer: StoreAnswer, refusal: Refusal, call: BucketCall): StoreError {
    const { address, region } = this.options;
    return this.dialect.refused(answer, refusal, { ...call, address: address.of('') }, { name: this.name, region });
  }

  /** What is said of a new object, with how and where it is kept. */
  describing({ meta, contentType, web }: Omit<NewObject, 'condition'>): Headers {
    const { prefix, keyHeader } = this.dialect;
    const { sse, storageClass } = this.options;
    const headers: Record<string, string> = { ...web };
    for (const [name, value] of Object.entries(meta)) headers[`${prefix}meta-${name}`] = value;
    if (contentType !== undefined) headers['content-type'] = contentType;
    if (storageClass !== undefined) headers[`${prefix}storage-class`] = storageClass;
    if (sse === undefined) return headers;
    headers[`${prefix}server-side-encryption`] = sse.algorithm;
    if (sse.keyId !== undefined) headers[keyHeader] = sse.keyId;
    return headers;
  }

  /** The source of a copy, which is of this bucket. */
  copying(key: string, ifMatch: string | undefined): Headers {
    const name = `${this.dialect.prefix}copy-source`;
    return {
      [name]: this.options.address.of(key).resource,
      ...(ifMatch !== undefined && { [`${name}-if-match`]: `"${ifMatch}"` }),
    };
  }
}
