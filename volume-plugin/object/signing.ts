import type { HttpHeaders } from './http/message.ts';

/** What requests are signed with. */
export interface StoreKey {
  readonly id: string;
  readonly secret: string;
  /** Comes with a temporary key. */
  readonly token?: string;
}

/** A request before its signature. */
export interface SignableRequest {
  readonly method: string;
  /** As in the header Host. */
  readonly host: string;
  /** As it goes over the wire: encoded (`encodePath`), begins with `/`; with the bucket in path style only. */
  readonly path: string;
  /** Encoded too, with the bucket in either style: `/bucket/key`, `/bucket/` or `/`. OSS signs it. */
  readonly resource: string;
  /** Names and values, not encoded; the value of a bare word such as `uploads` is ''. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** By lower-case name, without `host`. */
  readonly headers: HttpHeaders;
}

/** What is sent. */
export interface SignedRequest {
  /** Path and query, encoded. */
  readonly target: string;
  /** All headers: those of the request, `host`, and the signature's. */
  readonly headers: HttpHeaders;
}

/** A way to sign requests. */
export interface Signer {
  /** `time`: epoch milliseconds by the store's clock. No key: the request goes unsigned, as for public buckets. */
  sign(request: SignableRequest, key: StoreKey | undefined, time: number): SignedRequest;
}
