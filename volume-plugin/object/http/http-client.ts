import type { Context } from '../../../shared/context.ts';
import type { HttpAnswer, HttpRequest, Origin } from './message.ts';

/** How connections are made and kept. */
export interface HttpOptions {
  /** A file of PEM certificates: those of servers must be signed by one of these, and by no other. */
  readonly caFile?: string;
  /** The name that certificates must have and that is asked for, when it is not the origin's host. */
  readonly serverName?: string;
  /** `http://[user:password@]host:port`: plain requests go to it in absolute form, TLS through CONNECT. */
  readonly proxy?: string;
  /** Connections to one origin at once, usually 128; further requests wait their turn. */
  readonly connections?: number;
  /** How long a connection is kept that nobody uses, milliseconds; usually 8 s, less when the server says so. */
  readonly idleMs?: number;
  /** Until a connection stands (with TLS), milliseconds; usually 5 s. */
  readonly connectMs?: number;
  /** Without a byte in either direction while an answer is awaited, milliseconds; usually 20 s. */
  readonly silenceMs?: number;
}

/** HTTP/1.1 as object stores need it: whole answers, no redirects, no cookies, no compression. */
export interface Http {
  /** Throws HttpError and nothing else. An answer of any status is an answer. */
  request(origin: Origin, request: HttpRequest, c: Context): Promise<HttpAnswer>;
  /** Ends all connections; requests under way fail with `closed`. */
  close(): void;
}
