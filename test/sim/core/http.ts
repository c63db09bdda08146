/** The HTTP server under every simulated service. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpRequest {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly target: string;
  /** The path alone, as it was sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Address of the caller; IPv4 without `::ffff:`. Empty on a unix socket. */
  readonly source: string;
  /** Fires when the caller has gone. */
  readonly gone: AbortSignal;
}

export interface HttpReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Answers a request; `undefined` cuts the connection without an answer. */
export type HttpHandler = (request: HttpRequest) => Promise<HttpReply | undefined>;

export type ListenAt =
  | {
      /** 127.0.0.1 by default. */ readonly host?: string;
      /** Any free one by default. */ readonly port?: number;
    }
  | { readonly socket: string };

export interface HttpServer {
  /** `http://127.0.0.1:40123`, or the path of the socket. */
  readonly url: string;
  readonly port: number;
  /** Stops listening and cuts all connections. */
  close(): Promise<void>;
}

const BODY_LIMIT = 4 * 1024 * 1024;

const read = async (message: IncomingMessage): Promise<Buffer> => {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of message as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > BODY_LIMIT) throw new Error(`a body of more than ${BODY_LIMIT} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
};

const answer = async (handler: HttpHandler, message: IncomingMessage, response: ServerResponse): Promise<void> => {
  const abort = new AbortController();
  response.once('close', () => abort.abort());
  const target = message.url ?? '/';
  const [path = '/'] = target.split('?');
  const reply = await handler({
    method: message.method ?? 'GET',
    target,
    path,
    query: new URLSearchParams(target.slice(path.length)),
    headers: message.headers,
    body: await read(message),
    source: (message.socket.remoteAddress ?? '').replace(/^::ffff:/, ''),
    gone: abort.signal,
  });
  if (reply === undefined) {
    message.socket.destroy();
    return;
  }
  const body = Buffer.from(reply.body ?? '');
  response.writeHead(reply.status, { ...reply.headers, 'Content-Length': body.length });
  response.end(body);
};

/** Starts a server. A handler that throws is a fault of the simulator: it says so on stderr and answers 500 with the stack. */
export async function listen(handler: HttpHandler, at: ListenAt = {}): Promise<HttpServer> {
  const server = createServer((message, response) => {
    answer(handler, message, response).catch((error: unknown) => {
      // The caller hung up in the middle of its request: nobody is left to tell.
      if (message.destroyed && !message.complete) return;
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.stderr.write(`simulator: ${text}\n`);
      if (!response.headersSent) response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end(text);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if ('socket' in at) server.listen(at.socket, resolve);
    else server.listen(at.port ?? 0, at.host ?? '127.0.0.1', resolve);
  });
  const port = 'socket' in at ? 0 : (server.address() as AddressInfo).port;
  const host = 'socket' in at ? '' : (at.host ?? '127.0.0.1');
  return {
    url: 'socket' in at ? at.socket : `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
