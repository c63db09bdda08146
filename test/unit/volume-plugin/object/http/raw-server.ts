import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { Context } from '../../../../../shared/context.ts';
import { newContext } from '../../../../../shared/context.ts';
import { silentLogger } from '../../../../../shared/log.ts';
import { HttpClient, type HttpOptions } from '../../../../../volume-plugin/object/http/http-client.ts';
import type { HttpAnswer, HttpRequest, Origin } from '../../../../../volume-plugin/object/http/message.ts';
import { originOf } from '../../../../../volume-plugin/object/http/origin.ts';

export type Tap = { teardown(work: () => unknown): void };

/** A request as a server got it. */
export interface Received {
  /** `GET /path`. */
  readonly line: string;
  readonly head: string;
  readonly body: Buffer;
  /** Of connections, from 0, and of requests on it, from 0. */
  readonly connection: number;
  readonly turn: number;
}

export interface Manners {
  /** What to do with each whole request; `socket` may be written to and ended in any way. */
  readonly serve: (request: Received, socket: Socket) => void;
  /** Instead: a new connection, before any byte. */
  readonly meet?: (socket: Socket, connection: number) => void;
  readonly tls?: TlsOptions;
  readonly host?: string;
}

/** A server of HTTP/1.1 that does exactly what its test says. */
export class RawServer {
  readonly requests: Received[] = [];
  readonly sockets: Socket[] = [];
  readonly port: number;
  readonly origin: Origin;
  readonly #server: Server;

  private constructor(server: Server, port: number, origin: Origin) {
    this.#server = server;
    this.port = port;
    this.origin = origin;
  }

  static async listen(t: Tap, manners: Manners): Promise<RawServer> {
    const { host = '127.0.0.1', tls } = manners;
    const server = tls === undefined ? createServer() : createTlsServer(tls);
    await new Promise<void>((resolve, reject) => server.on('error', reject).listen(0, host, resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const made = new RawServer(server, port, originOf(tls !== undefined, host, port));
    server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => made.#meet(socket, manners));
    // A client that does not trust the certificate says so by cutting it off.
    server.on('tlsClientError', () => undefined);
    t.teardown(() => made.close());
    return made;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
  }

  #meet(socket: Socket, { serve, meet }: Manners): void {
    const connection = this.sockets.push(socket) - 1;
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    if (meet !== undefined) {
      meet(socket, connection);
      return;
    }
    let pending: Buffer = Buffer.alloc(0);
    let turn = 0;
    socket.on('data', (data: Buffer) => {
      pending = pending.length === 0 ? data : Buffer.concat([pending, data]);
      for (;;) {
        const end = pending.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = pending.toString('utf8', 0, end);
        const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
        if (pending.length < end + 4 + length) return;
        const body = pending.subarray(end + 4, end + 4 + length);
        pending = pending.subarray(end + 4 + length);
        const line = head.slice(0, head.indexOf(' HTTP/1.1'));
        const request = { line, head, body, connection, turn };
        turn += 1;
        this.requests.push(request);
        serve(request, socket);
      }
    });
  }
}

/** An answer as text. */
export const answerOf = (body: string | Buffer, status = '200 OK', headers: readonly string[] = []): Buffer =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`),
    Buffer.from(
      [...headers, '', '']
        .map((header) => (header === '' ? '\r\n' : `${header}\r\n`))
        .join('')
        .slice(0, -2),
    ),
    Buffer.from(body),
  ]);

export const contextOf = (ms = 10_000, parent?: Context): Context => newContext(silentLogger, ms, parent);

/** A client that is closed with the test. */
export const clientOf = (t: Tap, options: HttpOptions = {}): HttpClient => {
  const client = new HttpClient(options);
  t.teardown(() => client.close());
  return client;
};

/** Waits until it is so, for seconds at most. */
export const until = async (isSo: () => boolean): Promise<boolean> => {
  for (let left = 500; left > 0 && !isSo(); left -= 1) await wait(10);
  return isSo();
};

/** A GET, usually. */
export const ask = (
  client: HttpClient,
  { origin }: { readonly origin: Origin },
  request: Partial<HttpRequest> = {},
  c = contextOf(),
): Promise<HttpAnswer> =>
  client.request(origin, { method: 'GET', target: '/', headers: {}, repeatable: true, ...request }, c);
