import type { StoreAddress } from './call.ts';
import type { Origin } from './http/message.ts';
import { originOf } from './http/origin.ts';
import { encodePath } from './uri-encoding.ts';

/** How a bucket is named: in the path, or in the host's name. */
export type Addressing = 'path' | 'virtual';

/** Where the requests for a bucket go; makes the address of each key. */
export class BucketAddress {
  readonly origin: Origin;
  readonly #host: string;
  readonly #wirePrefix: string;
  readonly #resourcePrefix: string;

  /** `endpoint`: the store's, without the bucket. */
  constructor(endpoint: Origin, bucket: string, addressing: Addressing) {
    const isVirtual = addressing === 'virtual';
    this.origin = isVirtual ? originOf(endpoint.tls, `${bucket}.${endpoint.host}`, endpoint.port) : endpoint;
    this.#host = this.origin.authority;
    this.#resourcePrefix = `/${encodePath(bucket)}/`;
    this.#wirePrefix = isVirtual ? '/' : this.#resourcePrefix;
  }

  /** Of an object; of the bucket without a key. Errors: StoreError INVALID for a key that is no Unicode text. */
  of(key = ''): StoreAddress {
    const encoded = encodePath(key);
    return {
      origin: this.origin,
      host: this.#host,
      path: this.#wirePrefix + encoded,
      resource: this.#resourcePrefix + encoded,
    };
  }
}
