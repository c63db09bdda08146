import type { Context } from '../../../shared/context.ts';
import type { Connection } from './connection.ts';
import { type WrittenHead, writeHead } from './head.ts';
import { HttpError } from './http-error.ts';
import type { HttpAnswer, HttpRequest, Origin } from './message.ts';
import { Pool, type Waiter } from './pool.ts';
import { Transport } from './transport.ts';

/** How connections are made and kept. */
export interface HttpOptions {
  /** A file of PEM certificates: those of servers must be signed by one of these, and by no other. */
  readonly caFile?: string;
  /** The same as text. */
  readonly ca?: string;
  /** The name that certificates must have and that is asked for, when it is not the origin's host. */
  readonly serverName?: string;
  /** `http://[user:password@]host:port`: plain requests go to it in absolute form, TLS through CONNECT. */
  readonly proxy?: string;
  /** Hosts that are reached without it: see shared/no-proxy.ts. */
  readonly noProxy?: readonly string[];
  /** Connections to one origin at once, usually 128; further requests wait their turn. */
  readonly connections?: number;
  /** How long a connection is kept that nobody uses, milliseconds; usually 8 s, less when the server says so. */
  readonly idleMs?: number;
  /** Until a connection stands (with TLS), milliseconds; usually 3 s. */
  readonly connectMs?: number;
  /** Without a byte in either direction while an answer is awaited, milliseconds; usually 20 s. */
  readonly silenceMs?: number;
}

/** A request under way. */
export interface Flight {
  /** Rejects with HttpError and nothing else. */
  readonly answer: Promise<HttpAnswer>;
  /** It is of no use any more: ends it, and its connection if it has one. The answer rejects with `ended`. */
  cancel(): void;
}

/** HTTP/1.1 as object stores need it: whole answers, no redirects, no cookies, no compression. */
export interface Http {
  /** Throws HttpError and nothing else. An answer of any status is an answer. */
  request(origin: Origin, request: HttpRequest, c: Context): Promise<HttpAnswer>;
  /** The same, with a handle. */
  begin(origin: Origin, request: HttpRequest, c: Context): Flight;
  /** The proxy that reads requests to this origin, and may answer them itself, as `http://host:port`. */
  proxyOf(origin: Origin): string | undefined;
  /** Ends all connections; requests under way fail with `closed`. */
  close(): void;
}

const SCRATCH = 64 * 1024;
const USUAL = { connections: 128, idleMs: 8_000, silenceMs: 20_000 };
/** Rounds of the clock within the shorter of the two times; it is a clock of rounds so that a host that slept for an hour has not been met by an hour of silence. */
const ROUNDS = 8;

/** Keeps connections, one pool for each origin. */
export class HttpClient implements Http {
  readonly #transport: Transport;
  readonly #most: number;
  readonly #roundMs: number;
  readonly #silentRounds: number;
  readonly #idleRounds: number;
  readonly #pools = new Map<string, Pool>();
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH);
  #clock: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** Errors: HttpError `proxy` when the option is no proxy. */
  constructor(options: HttpOptions = {}) {
    const { connections = USUAL.connections, idleMs = USUAL.idleMs, silenceMs = USUAL.silenceMs } = options;
    this.#transport = new Transport(options);
    this.#most = connections;
    this.#roundMs = Math.max(10, Math.min(idleMs, silenceMs) / ROUNDS);
    this.#silentRounds = Math.ceil(silenceMs / this.#roundMs);
    this.#idleRounds = Math.ceil(idleMs / this.#roundMs);
  }

  /** Connections of all origins, those that are being made included. */
  get connections(): number {
    return [...this.#pools.values()].reduce((sum, pool) => sum + pool.size, 0);
  }

  request(origin: Origin, request: HttpRequest, c: Context): Promise<HttpAnswer> {
    return this.begin(origin, request, c).answer;
  }

  begin(origin: Origin, request: HttpRequest, c: Context): Flight {
    let head: WrittenHead;
    try {
      head = this.#write(origin, request);
    } catch (error) {
      return { answer: Promise.reject(error), cancel: () => undefined };
    }
    return new RequestFlight(this.#pool(origin), request, head, c);
  }

  proxyOf(origin: Origin): string | undefined {
    return origin.tls ? undefined : this.#transport.proxyOf(origin)?.key;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#clock);
    this.#clock = undefined;
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #write(origin: Origin, request: HttpRequest): WrittenHead {
    if (this.#isClosed) throw new HttpError('closed', 'the client was closed');
    const target = this.#transport.wireTarget(origin, request.target);
    const length = request.body?.reduce((sum, { length }) => sum + length, 0) ?? 0;
    return writeHead(request, origin, target, length, this.#transport.moreHeaders(origin));
  }

  #pool(origin: Origin): Pool {
    let pool = this.#pools.get(origin.key);
    if (pool === undefined) {
      pool = new Pool(origin, this.#transport, this.#scratch, this.#most);
      this.#pools.set(origin.key, pool);
    }
    this.#clock ??= setInterval(() => this.#tick(), this.#roundMs).unref();
    return pool;
  }

  #tick(): void {
    for (const pool of this.#pools.values()) pool.tick(this.#silentRounds, this.#idleRounds, this.#roundMs);
    if (this.connections > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }
}

/** One request: it waits for a connection, is sent, and is sent once more when a kept connection turns out to be dead. */
class RequestFlight implements Flight {
  readonly answer: Promise<HttpAnswer>;
  readonly #pool: Pool;
  readonly #request: HttpRequest;
  readonly #head: WrittenHead;
  readonly #context: Context;
  readonly #waiter: Waiter;
  #connection: Connection | undefined;
  #again = false;
  #settle: { resolve(answer: HttpAnswer): void; reject(error: HttpError): void } | undefined;

  constructor(pool: Pool, request: HttpRequest, head: WrittenHead, c: Context) {
    this.#pool = pool;
    this.#request = request;
    this.#head = head;
    this.#context = c;
    this.#waiter = { serve: (connection) => this.#run(connection), fail: (error) => this.#failed(error) };
    this.answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    if (c.signal.aborted) {
      this.#ended();
      return;
    }
    c.signal.addEventListener('abort', this.#ended);
    pool.take(this.#waiter);
  }

  cancel(): void {
    this.#stop(new HttpError('ended', 'the request was given up', { sent: this.#connection !== undefined }));
  }

  readonly #ended = (): void => {
    const { reason } = this.#context.signal;
    const text = reason instanceof Error ? reason.message : 'the call ended';
    this.#stop(new HttpError('ended', text, { sent: this.#connection !== undefined, cause: reason }));
  };

  #stop(error: HttpError): void {
    if (this.#settle === undefined) return;
    this.#pool.leave(this.#waiter);
    const connection = this.#connection;
    this.#failed(error);
    connection?.destroy();
  }

  #run(connection: Connection): void {
    this.#connection = connection;
    const wasUsed = connection.used;
    connection.run({
      request: this.#request,
      head: this.#head,
      answered: (answer) => {
        this.#finish()?.resolve(answer);
      },
      failed: (error, untouched) => {
        const isStale = wasUsed && untouched && error.trouble === 'closed';
        if (!isStale || this.#again || this.#request.repeatable !== true || this.#settle === undefined) {
          this.#failed(error);
          return;
        }
        // The server has closed what it kept for us; it may have done so with the others.
        this.#again = true;
        this.#connection = undefined;
        this.#pool.dropIdle();
        this.#pool.take(this.#waiter);
      },
    });
  }

  #failed(error: HttpError): void {
    // Of the first time it is not known what became of it, whatever happened to the second.
    const { trouble, message, cause } = error;
    const told = this.#again && !error.sent ? new HttpError(trouble, message, { sent: true, cause }) : error;
    this.#finish()?.reject(told);
  }

  #finish() {
    const settle = this.#settle;
    this.#settle = undefined;
    this.#connection = undefined;
    this.#context.signal.removeEventListener('abort', this.#ended);
    return settle;
  }
}
