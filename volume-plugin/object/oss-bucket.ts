import type { Context } from '../../shared/context.ts';
import type { BucketAddress } from './addressing.ts';
import type { Caller, StoreAnswer, StoreCall } from './call.ts';
import { refused } from './oss-failure.ts';
import type { Refusal } from './refusal.ts';
import { type NewObject, StoreError, type WriteCondition } from './store.ts';

export interface OssOptions {
  readonly bucket: string;
  readonly region: string;
  readonly caller: Caller;
  readonly address: BucketAddress;
  /** `AES256`, `KMS` or `SM4`. */
  readonly sse?: { readonly algorithm: string; readonly keyId?: string };
  /** `Standard`, `IA`, … of new objects. */
  readonly storageClass?: string;
  readonly requesterPays?: boolean;
}

/** A request to an object, by its key, or to the bucket: then the key is that of the back-off. */
export interface OssCall extends Omit<StoreCall, 'address'> {
  readonly ofBucket?: true;
}

type Headers = Readonly<Record<string, string>>;

/** Of requests whose body was damaged on the way. */
const ATTEMPTS = 5;

/** Asks OSS about one bucket. */
export class OssBucket {
  readonly name: string;
  readonly options: OssOptions;
  readonly #every: Headers;

  constructor(options: OssOptions) {
    this.options = options;
    this.name = `oss://${options.bucket}`;
    this.#every = options.requesterPays === true ? { 'x-oss-request-payer': 'requester' } : {};
  }

  /** Any answer, errors too. Throws StoreError, for what is no answer. */
  call(call: OssCall, c: Context): Promise<StoreAnswer> {
    const address = this.options.address.of(call.ofBucket === true ? '' : call.key);
    return this.options.caller.call({ ...call, address, headers: { ...this.#every, ...call.headers } }, c);
  }

  /** An answer that is none of an error, and of what was sent (`isIntact`). Throws StoreError. */
  async ask(call: OssCall, c: Context, isIntact: (answer: StoreAnswer) => boolean = () => true): Promise<StoreAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.call(call, c);
      if (answer.refusal === undefined && isIntact(answer)) return answer;
      const error = answer.refusal === undefined ? this.damaged(call) : this.refused(answer, answer.refusal, call);
      // Our bytes arrived as others: they may do better the next time.
      if (error.failure !== 'DAMAGED' || attempt >= ATTEMPTS) throw error;
      c.log.warn('bytes arrived at the store as others', { store: this.name, key: call.key, attempt });
    }
  }

  damaged({ action, key = '' }: OssCall): StoreError {
    const text = `${action} of ${this.name}/${key}: what the store has does not have the checksum of what was sent`;
    return new StoreError('DAMAGED', text, { key });
  }

  refused(answer: StoreAnswer, refusal: Refusal, call: OssCall): StoreError {
    return refused(answer, refusal, { ...call, address: this.options.address.of('') }, this.name);
  }

  /** What is said of a new object, with how and where it is kept. */
  describing({ meta, contentType, web }: Omit<NewObject, 'condition'>): Headers {
    const { sse, storageClass } = this.options;
    const headers: Record<string, string> = { ...web };
    for (const [name, value] of Object.entries(meta)) headers[`x-oss-meta-${name}`] = value;
    if (contentType !== undefined) headers['content-type'] = contentType;
    if (storageClass !== undefined) headers['x-oss-storage-class'] = storageClass;
    if (sse === undefined) return headers;
    headers['x-oss-server-side-encryption'] = sse.algorithm;
    if (sse.keyId !== undefined) headers['x-oss-server-side-encryption-key-id'] = sse.keyId;
    return headers;
  }

  /** The source of a copy, which is of this bucket. */
  copying(key: string, ifMatch: string | undefined): Headers {
    return {
      'x-oss-copy-source': this.options.address.of(key).resource,
      ...(ifMatch !== undefined && { 'x-oss-copy-source-if-match': `"${ifMatch}"` }),
    };
  }
}

/** The one condition that OSS has for writes. */
export const conditionHeaders = (condition: WriteCondition | undefined): Headers =>
  condition?.ifAbsent === true ? { 'x-oss-forbid-overwrite': 'true' } : {};
