import type { Context } from '../../shared/context.ts';
import type { HttpAnswer, HttpHead, HttpHeaders, Origin } from './http/message.ts';
import type { Refusal } from './refusal.ts';

/** Where requests for a bucket or an object go; `BucketAddress` makes it. */
export interface StoreAddress {
  readonly origin: Origin;
  /** See SignableRequest. */
  readonly host: string;
  readonly path: string;
  readonly resource: string;
}

/** A request to a store, as its file describes it. */
export interface StoreCall {
  /** The vendor's name of the permission, such as `s3:GetObject`: for errors and the log. */
  readonly action: string;
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly address: StoreAddress;
  /** The object's, or the prefix of a listing: for errors and for the back-off of its prefix. */
  readonly key?: string;
  readonly query?: readonly (readonly [name: string, value: string])[];
  /** By lower-case name, without `host` and `content-length`. */
  readonly headers?: HttpHeaders;
  readonly body?: readonly Buffer[];
  /** May be sent again though an earlier one may have been carried out; usually true. POSTs that begin something: false. */
  readonly repeatable?: boolean;
  /** What does not pass by itself, such as a certificate that is not trusted or a proxy that refuses, is told at once. */
  readonly atOnce?: boolean;
  /** May be asked twice at once when the answer is late: GETs of data. */
  readonly hedged?: boolean;
  /** See HttpRequest. Not asked for answers that are errors (status 300 and above). */
  readonly into?: (head: HttpHead) => Buffer | undefined;
  readonly longest?: number;
  /** See HttpRequest: `SERVER_SIDE_MS` for what the store does by itself, such as a copy. */
  readonly patienceMs?: number;
}

/** Who was asked. */
export interface AskedBucket {
  /** `s3://name`. */
  readonly name: string;
  /** What requests are signed for. */
  readonly region: string;
}

export interface StoreAnswer extends HttpAnswer {
  /** What it says, when it is an error (status 300 and above). */
  readonly refusal: Refusal | undefined;
  /** An earlier attempt of this call may have been carried out: a condition that does not hold now may be our own doing. */
  readonly repeated: boolean;
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

/** Milliseconds of silence that are borne while a store copies, or puts parts together: gigabytes take it a minute. */
export const SERVER_SIDE_MS = 120_000;
