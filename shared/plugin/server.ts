import { createServer, type Server } from 'node:http';
import express, { type Express, type Request, type RequestHandler, type Response } from 'express';
import { type Context, newRequestId, now } from '../context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type Call, Calls, type Handler, type Outcome } from './calls.ts';
import { Methods, type MethodTable } from './methods.ts';
import { decodeBody, parseBody, readBody, TooLarge } from './request-body.ts';
import { listenOn } from './socket.ts';

export type { Handler } from './calls.ts';
export type { MethodTable } from './methods.ts';

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
  /** Errors that are an answer like any other: no cause for a warning. */
  readonly ordinary?: (method: string, code: ErrorCode) => boolean;
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
const CALL_TIMEOUT_MS = 25_000;
const STATUS: Partial<Record<ErrorCode, number>> = { BAD_REQUEST: 400, METHOD_UNKNOWN: 404, BODY_TOO_LARGE: 413 };

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
  readonly #calls: Calls;
  readonly #methods: Methods;
  #requests = 0;
  #closing = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#calls = new Calls({
      callTimeoutMs: CALL_TIMEOUT_MS,
      workTimeoutMs: 60_000,
      distinct: DISTINCT,
      ...options,
    });
    const activate = { '/Plugin.Activate': async () => ({ Implements: options.implements ?? [] }) };
    this.#methods = new Methods({ ...options.early, ...activate }, options.readyTimeoutMs ?? 10_000);
    const app = express();
    app.disable('x-powered-by');
    app.disable('etag');
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
    return this.#calls.inFlight;
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
    this.#methods.install(table);
  }

  /** Until `install`, calls (also those that wait) are answered with this error: the plugin could not start. */
  refuse(error: PluginError): void {
    this.#methods.refuse(error);
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
    while (this.inFlight > 0) await this.#calls.settled();
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
    const deadline = started + (this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS);
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
      const handler = this.#methods.early(method) ?? (await this.#installed(method, c));
      const text = decodeBody(method, bytes);
      const body = parseBody(method, text, this.#options.bodyless ?? BODYLESS);
      return await this.#calls.run({ method, handler, text, body }, c, {
        arrived: () => response.writableFinished,
        over: () => response.closed || response.destroyed,
        onOver: (listener) => response.once('close', listener),
      });
    } catch (thrown) {
      const error = asPluginError(thrown);
      c.log.warn('a call was refused', { error });
      return { requestId: c.requestId, error };
    }
  }

  #installed(method: string, c: Call): Promise<Handler> {
    if (this.#closing) throw new PluginError('NOT_READY', { reason: 'it is being stopped' });
    return this.#methods.installed(method, c.log);
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
