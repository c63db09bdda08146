import { isUtf8 } from 'node:buffer';
import { createServer, type Server } from 'node:http';
import express, { type Express, type Request, type RequestHandler, type Response } from 'express';
import { Coalescer } from '../coalesce.ts';
import { type Context, newContext, newRequestId, now } from '../context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { listenOn } from './socket.ts';

/** One method: parsed JSON in (undefined when there was no body), the answer out. May run on after its caller left. */
export type Handler = (body: unknown, c: Context) => Promise<unknown>;

/** Methods by path: `/NetworkDriver.Join`. */
export type MethodTable = Readonly<Record<string, Handler>>;

/** What became of one request, for metrics. */
export interface Observation {
  readonly method: string;
  readonly status: number;
  /** Milliseconds until the answer. */
  readonly ms: number;
  readonly code: ErrorCode | undefined;
}

export interface ServerOptions {
  readonly log: Logger;
  /** What Plugin.Activate answers: `NetworkDriver`, `IpamDriver`, … */
  readonly implements?: readonly string[];
  /** Answered at once, even before `install`: nothing that needs state. */
  readonly early?: MethodTable;
  /** Milliseconds until a caller is answered DEADLINE (the engine gives up at 30 s). */
  readonly callTimeoutMs?: number;
  /** Milliseconds that the work itself may go on. */
  readonly workTimeoutMs?: number;
  /** Milliseconds that a call waits for `install`. */
  readonly readyTimeoutMs?: number;
  /** Milliseconds after which a call is logged as slow. */
  readonly slowMs?: number;
  readonly bodyLimit?: number;
  /** Methods that the engine calls without a body. */
  readonly bodyless?: RegExp;
  /** Methods whose equal requests mean different things, so that they must not be joined. */
  readonly distinct?: RegExp;
  /** Called when the answer to a `distinct` request reached nobody: what it handed out should be taken back. */
  readonly onUndelivered?: (method: string, body: unknown, result: unknown, c: Context) => Promise<void>;
  readonly observe?: (observation: Observation) => void;
}

/** Docker's content type for plugins. */
const CONTENT_TYPE = 'application/vnd.docker.plugins.v1.1+json';
const BODYLESS = /\.(Activate|GetCapabilities|Capabilities|GetDefaultAddressSpaces|List)$/;
/** Two containers that each ask for any free address send the same bytes, and need two addresses. */
const DISTINCT = /^\/IpamDriver\.Request(Address|Pool)$/;
const STATUS: Partial<Record<ErrorCode, number>> = { BAD_REQUEST: 400, METHOD_UNKNOWN: 404, BODY_TOO_LARGE: 413 };

type Outcome = { readonly requestId: string } & (
  | { readonly result: unknown; readonly error?: never }
  | { readonly error: PluginError }
);

/** Somebody who waits for an answer. */
interface Call {
  readonly requestId: string;
  readonly log: Logger;
  /** Epoch milliseconds, on the clock of `now`. */
  readonly deadline: number;
  /** Was told DEADLINE. */
  late: boolean;
}

/**
 * A Docker plugin's HTTP server on a unix socket.
 *
 * A call that takes longer than `callTimeoutMs` is answered DEADLINE while the work goes on; the same call again (same
 * method, same bytes) joins it. A caller that hangs up is noticed and logged, and the work goes on too.
 */
export class PluginServer {
  readonly #options: ServerOptions;
  readonly #log: Logger;
  readonly #app: Express;
  /** One for each socket. */
  readonly #servers: Server[] = [];
  readonly #flights = new Coalescer<Outcome>();
  /** Resolved when there is news for those who wait until the plugin is ready. */
  #news = Promise.withResolvers<void>();
  #table: MethodTable | undefined;
  #refusal: PluginError | undefined;
  #unique = 0;
  #requests = 0;
  #closing = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#log = options.log;
    const app = express();
    app.disable('x-powered-by');
    app.disable('etag');
    // No body-parser: it makes {} of an empty body, and an empty body is what the engine sends when it repeats a call
    // over a new connection. Docker sends no Content-Type, so each one is taken.
    const limit = options.bodyLimit ?? 1 << 20;
    app.use(this.#handle(limit));
    app.use(this.#unreadable(limit));
    this.#app = app;
  }

  /** Requests that are being answered. */
  get requests(): number {
    return this.#requests;
  }

  /** Work that goes on, whether or not somebody still waits for it. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Can be called for several paths. Errors: SOCKET_TAKEN. A socket file that nobody listens on is replaced. */
  async listen(path: string): Promise<void> {
    const server = createServer(this.#app);
    // The engine keeps idle connections; one that we close under its hands costs it a failed call.
    server.keepAliveTimeout = 0;
    server.headersTimeout = 10_000;
    server.requestTimeout = 30_000;
    await listenOn(server, path);
    this.#servers.push(server);
    this.#log.info('listening', { path });
  }

  /** From now on calls are answered by these methods; those that wait are let in. */
  install(table: MethodTable): void {
    this.#refusal = undefined;
    this.#table = table;
    this.#news.resolve();
  }

  /** Until `install`, calls (also those that wait) are answered with this error: the plugin could not start. */
  refuse(error: PluginError): void {
    this.#refusal = error;
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }

  /** Takes no new calls, waits up to `timeoutMs` for those under way, and removes the sockets. */
  async close(timeoutMs = 5_000): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const server of this.#servers) server.closeIdleConnections();
    const timer = setTimeout(() => {
      this.#log.warn('calls were still under way when time ran out', { inFlight: this.inFlight });
      late.resolve();
    }, timeoutMs);
    const late = Promise.withResolvers<void>();
    await Promise.race([late.promise, this.#drained()]);
    clearTimeout(timer);
    for (const server of this.#servers) server.closeAllConnections();
    await Promise.all(closed);
  }

  async #drained(): Promise<void> {
    while (this.inFlight > 0) await this.#flights.settled();
    // The answers must leave, too.
    while (this.#requests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  readonly #handle =
    (limit: number): RequestHandler =>
    async (request, response) => {
      if (request.method === 'POST') await this.#answer(request, await readBody(request, limit), response);
      else {
        response.setHeader('Allow', 'POST');
        const reason = `${request.method} in place of POST`;
        this.#send(response, 405, errorBody(new PluginError('BAD_REQUEST', { method: request.path, reason })));
      }
    };

  async #answer(request: Request, bytes: Buffer, response: Response): Promise<void> {
    const method = request.path;
    const requestId = newRequestId();
    const started = now();
    const deadline = started + (this.#options.callTimeoutMs ?? 25_000);
    const c: Call = { requestId, deadline, log: this.#log.child({ method, requestId }), late: false };
    this.#requests += 1;
    response.once('close', () => {
      this.#requests -= 1;
      if (!response.writableFinished) {
        c.log.warn('the caller hung up before the answer; the work goes on', { ms: Math.round(now() - started) });
      }
    });
    const outcome = await this.#outcome(method, bytes, response, c);
    const ms = Math.round((now() - started) * 10) / 10;
    const status = outcome.error === undefined ? 200 : (STATUS[outcome.error.code] ?? 500);
    // The answer first: nobody should wait for what is counted and logged.
    this.#send(
      response,
      status,
      outcome.error === undefined ? outcome.result : errorBody(outcome.error, outcome.requestId),
    );
    this.#options.observe?.({ method, status, ms, code: outcome.error?.code });
    if (ms >= (this.#options.slowMs ?? 2_000)) c.log.warn('a slow call', { ms, status });
    else c.log.debug('answered', { ms, status });
  }

  /** Never rejects. */
  async #outcome(method: string, bytes: Buffer, response: Response, c: Call): Promise<Outcome> {
    try {
      const early = this.#early(method);
      const handler = early ?? (await this.#installed(method, c));
      const text = decodeBody(method, bytes);
      const body = parseBody(method, text, this.#options.bodyless ?? BODYLESS);
      const distinct = (this.#options.distinct ?? DISTINCT).test(method);
      this.#unique += distinct ? 1 : 0;
      const key = `${method} ${distinct ? this.#unique : ''} ${text}`;
      if (this.#flights.has(key)) c.log.info('joins the same call under way');
      const flight = this.#flights.run(key, () => this.#work(method, handler, body, c));
      const outcome = await this.#inTime(flight, method, c);
      if (distinct) this.#watchDelivery(flight, outcome, method, body, response);
      return outcome;
    } catch (thrown) {
      const error = asPluginError(thrown);
      c.log.warn('a call was refused', { error });
      return { requestId: c.requestId, error };
    }
  }

  async #work(method: string, handler: Handler, body: unknown, call: Call): Promise<Outcome> {
    const { requestId } = call;
    // Its deadline is its own: the work outlives its caller.
    const own = newContext(call.log, this.#options.workTimeoutMs ?? 60_000, undefined, requestId);
    const c: Context = { ...own, answerBy: call.deadline };
    try {
      return { requestId, result: await handler(body, c) };
    } catch (thrown) {
      const error = asPluginError(thrown);
      c.log[error.code === 'INTERNAL' ? 'error' : 'warn']('a call failed', { error });
      return { requestId, error };
    } finally {
      if (call.late) c.log.info('the work that outlived its caller has ended', { method });
    }
  }

  /** The outcome, or DEADLINE when the caller's time is over first. */
  async #inTime(flight: Promise<Outcome>, method: string, c: Call): Promise<Outcome> {
    const late = Promise.withResolvers<Outcome>();
    const over = (): void => {
      c.late = true;
      const seconds = Math.round((this.#options.callTimeoutMs ?? 25_000) / 100) / 10;
      const error = new PluginError('DEADLINE', { what: method.slice(1), seconds });
      late.resolve({ requestId: c.requestId, error });
    };
    const timer = setTimeout(over, Math.max(0, c.deadline - now())).unref();
    try {
      return await Promise.race([flight, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sees to it that what a distinct call handed out is taken back when nobody got it. */
  #watchDelivery(flight: Promise<Outcome>, answered: Outcome, method: string, body: unknown, response: Response): void {
    const { onUndelivered } = this.#options;
    if (onUndelivered === undefined) return;
    const takeBack = async (): Promise<void> => {
      const outcome = await flight;
      if (outcome.error !== undefined || (outcome === answered && response.writableFinished)) return;
      const log = this.#log.child({ method, requestId: outcome.requestId });
      try {
        await onUndelivered(method, body, outcome.result, newContext(log, this.#options.workTimeoutMs ?? 60_000));
      } catch (error) {
        log.warn('what nobody received could not be taken back', { error });
      }
    };
    if (response.closed || response.destroyed) void takeBack();
    else response.once('close', () => void takeBack());
  }

  #early(method: string): Handler | undefined {
    if (method === '/Plugin.Activate') return async () => ({ Implements: this.#options.implements ?? [] });
    const { early = {} } = this.#options;
    return Object.hasOwn(early, method) ? early[method] : undefined;
  }

  async #installed(method: string, c: Call): Promise<Handler> {
    if (this.#closing) throw new PluginError('NOT_READY', { reason: 'it is being stopped' });
    if (this.#table === undefined) await this.#untilReady(c);
    const table = this.#table ?? {};
    const handler = Object.hasOwn(table, method) ? table[method] : undefined;
    if (handler === undefined) throw new PluginError('METHOD_UNKNOWN', { method: method.slice(0, 100) });
    return handler;
  }

  async #untilReady(c: Call): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#options.readyTimeoutMs ?? 10_000);
    try {
      c.log.debug('waits until the plugin is ready');
      if (this.#refusal === undefined) await Promise.race([this.#news.promise, late.promise]);
    } finally {
      clearTimeout(timer);
    }
    if (this.#table === undefined) throw this.#refusal ?? new PluginError('NOT_READY', {});
  }

  /** Bodies that could not be read, and what express itself throws. */
  readonly #unreadable =
    (limit: number) =>
    (thrown: unknown, request: Request, response: Response, next: (error: unknown) => void): void => {
      if (response.headersSent) {
        next(thrown);
        return;
      }
      const method = request.path.slice(0, 100);
      const error =
        thrown instanceof TooLarge
          ? new PluginError('BODY_TOO_LARGE', { method, limit }, { cause: thrown })
          : new PluginError('BAD_REQUEST', { method, reason: 'the body could not be read' }, { cause: thrown });
      this.#log.warn('a request could not be read', { error });
      const status = STATUS[error.code] ?? 500;
      this.#options.observe?.({ method, status, ms: 0, code: error.code });
      // Whoever does that is no engine that would go on with the connection.
      response.setHeader('Connection', 'close');
      this.#send(response, status, errorBody(error));
    };

  #send(response: Response, status: number, body: unknown): void {
    if (response.destroyed) return;
    const text = JSON.stringify(body ?? {});
    response.statusCode = status;
    response.setHeader('Content-Type', CONTENT_TYPE);
    response.setHeader('Content-Length', Buffer.byteLength(text));
    if (this.#closing) response.setHeader('Connection', 'close');
    response.end(text);
  }
}

/** The network and volume APIs read `Err`, the IPAM API `Error`. */
const errorBody = (error: PluginError, requestId?: string): { Err: string; Error: string } => {
  const text = error.toUserText(requestId);
  return { Err: text, Error: text };
};

class TooLarge extends Error {}

/**
 * The body. Rejects with TooLarge beyond `limit` bytes, or with what cut it short. All of it is taken in any case: whoever
 * still writes when we close the connection never gets to read the answer.
 */
const readBody = (request: Request, limit: number): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk);
  });
  request.once('end', () => {
    const [first] = chunks;
    if (length > limit) reject(new TooLarge());
    else if ((request.headers['content-encoding'] ?? 'identity') !== 'identity') reject(new Error('it is encoded'));
    else resolve(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks));
  });
  request.once('error', reject);
  request.once('close', () => reject(new Error('the connection ended before the body')));
  return promise;
};

const refusedBody = (method: string, reason: string, cause?: unknown): PluginError =>
  new PluginError('BAD_REQUEST', { method: method.slice(0, 100), reason }, { cause });

/** Without the mark of the byte order that some put in front. Throws BAD_REQUEST. */
const decodeBody = (method: string, bytes: Buffer): string => {
  if (!isUtf8(bytes)) throw refusedBody(method, 'the body is not UTF-8');
  const text = bytes.toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
};

/** JSON of the body; undefined for none where none is needed. Throws BAD_REQUEST. */
const parseBody = (method: string, text: string, bodyless: RegExp): unknown => {
  if (text.trim() === '') {
    if (bodyless.test(method)) return undefined;
    throw refusedBody(method, 'the body is empty, as it is when the plugin was started again during the call');
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw refusedBody(method, 'the body is not JSON', error);
  }
  if (body === null && bodyless.test(method)) return undefined;
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw refusedBody(method, 'the body is not a JSON object');
  return body;
};
