import type { Context } from '../../shared/context.ts';
import type { HttpAnswer, HttpHead, HttpHeaders, Origin } from './http/message.ts';
import type { StoreKey } from './signing.ts';

/** Where requests for a bucket or an object go; `addressOf` makes it. */
export interface StoreAddress {
  readonly origin: Origin;
  /** See SignableRequest. */
  readonly host: string;
  readonly path: string;
  readonly resource: string;
}

/** Where keys come from. */
export interface KeySource {
  /** A key that is good now; undefined: none, requests go unsigned. `refused` is one that the store does not take any more. */
  key(c: Context, refused?: StoreKey): Promise<StoreKey | undefined>;
}

/** A request to a store, as its file describes it. */
export interface StoreCall {
  /** The vendor's name of the permission, such as `s3:GetObject`: for errors and the log. */
  readonly action: string;
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly address: StoreAddress;
  /** The object's, for errors and for the back-off of its prefix. */
  readonly key?: string;
  readonly query?: readonly (readonly [name: string, value: string])[];
  readonly headers?: HttpHeaders;
  readonly body?: readonly Buffer[];
  /** May be sent again though an earlier one may have been carried out; usually true. POSTs that begin something: false. */
  readonly repeatable?: boolean;
  /** May be asked twice at once when the answer is late: GETs of data. */
  readonly hedged?: boolean;
  /** See HttpRequest. Not asked for answers that are errors (status 300 and above). */
  readonly into?: (head: HttpHead) => Buffer | undefined;
  readonly longest?: number;
}

export interface StoreAnswer extends HttpAnswer {
  /** An earlier attempt of this call may have been carried out: a condition that does not hold now may be our own doing. */
  readonly repeated: boolean;
}

/** What a store says in an answer that is an error. */
export interface Refusal {
  readonly status: number;
  /** `<Code>` of the body; '' when there is none, as in answers to HEAD. */
  readonly code: string;
  readonly message: string;
  /** Of the vendor, for its support; '' when there is none. */
  readonly requestId: string;
}

export interface Caller {
  /**
   * Signs, sends, and repeats what may be repeated while the context lasts: failed connections, 5xx, 429, slow-downs,
   * skewed clocks and ended keys. Every other answer, errors too, is the result. Throws StoreError (UNREACHABLE,
   * DEADLINE, THROTTLED, SKEWED, CREDENTIALS, INVALID) and nothing else.
   */
  call(call: StoreCall, c: Context): Promise<StoreAnswer>;
  close(): void;
}
