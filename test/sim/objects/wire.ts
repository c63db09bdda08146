/**
 * HTTP/1.1 under the object servers: on plain sockets, because `node:http` takes 160 µs of CPU for a request and copies
 * bodies, and benchmarks would measure that.
 */
import { STATUS_CODES } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { type ObjectHandler, type ObjectReply, sizeOf, sliceOf } from './message.ts';
import { RequestReader } from './request-reader.ts';

/** PEM. */
export interface TlsFiles {
  readonly key: string;
  readonly cert: string;
}

export interface WireConfig {
  /** 127.0.0.1 by default. */
  readonly host?: string;
  /** Any free one by default. */
  readonly port?: number;
  readonly tls?: TlsFiles;
}

export interface WireServer {
  readonly url: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Cuts all connections; listening goes on. */
  cut(): void;
  close(): Promise<void>;
}

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

const headOf = (reply: ObjectReply, length: number, keepAlive: boolean): string => {
  let text = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? 'Unknown'}\r\n`;
  for (const [name, value] of Object.entries(reply.headers)) text += `${name}: ${value}\r\n`;
  if (reply.status !== 304 && reply.status !== 204) text += `Content-Length: ${length}\r\n`;
  return `${text}${keepAlive ? '' : 'Connection: close\r\n'}\r\n`;
};

const corrupted = (body: readonly Buffer[]): Buffer[] => {
  const [first = Buffer.alloc(0), ...rest] = body;
  const wrong = Buffer.from(first);
  const middle = wrong.length >> 1;
  if (wrong.length > 0) wrong[middle] = (wrong[middle] ?? 0) ^ 1;
  return [wrong, ...rest];
};

/** Writes an answer; resolves when it has left, false when the connection is over. */
const write = (socket: Socket, reply: ObjectReply, isHead: boolean, keepAlive: boolean): Promise<boolean> =>
  new Promise((resolve) => {
    const { spoiling } = reply;
    if (spoiling?.kind === 'reset' && spoiling.after === undefined) {
      socket.resetAndDestroy();
      resolve(false);
      return;
    }
    const whole = isHead ? [] : spoiling?.kind === 'corrupt' ? corrupted(reply.body) : reply.body;
    const length = reply.promised ?? sizeOf(whole);
    const cut = spoiling?.kind === 'truncate' || spoiling?.kind === 'reset';
    const body = cut ? sliceOf(whole, 0, spoiling.after ?? 0) : whole;
    const closed = (): void => resolve(false);
    socket.once('close', closed);
    socket.cork();
    socket.write(headOf(reply, length, keepAlive), 'utf8');
    for (const part of body) socket.write(part);
    const done = (): void => {
      socket.off('close', closed);
      if (spoiling?.kind === 'reset') socket.resetAndDestroy();
      else if (cut || !keepAlive) socket.end(() => socket.destroy());
      resolve(keepAlive && !cut);
    };
    // An empty write is what a callback comes with after all of it.
    socket.write('', done);
    socket.uncork();
  });

/** Serves one connection: a request after the other. */
const serve = (socket: Socket, tls: boolean, handler: ObjectHandler): void => {
  const gone = new AbortController();
  const source = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  const reader = new RequestReader();
  let busy = false;
  const next = async (): Promise<void> => {
    busy = true;
    for (;;) {
      const request = reader.take();
      if (request === undefined) break;
      const { keepAlive, ...rest } = request;
      const reply = await handler({ ...rest, source, tls, gone: gone.signal });
      if (gone.signal.aborted) return;
      if (reply === undefined) {
        socket.destroy();
        return;
      }
      if (!(await write(socket, reply, request.method === 'HEAD', keepAlive))) return;
    }
    busy = false;
  };
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.once('close', () => gone.abort());
  socket.on('data', (data: Buffer) => {
    try {
      reader.push(data);
    } catch (error) {
      const text = Buffer.from(`${error instanceof Error ? error.message : String(error)}\n`);
      socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`);
      return;
    }
    if (reader.expectsContinue()) socket.write(CONTINUE);
    if (busy || !reader.isComplete) return;
    next().catch((error: unknown) => {
      process.stderr.write(
        `object server: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
      socket.destroy();
    });
  });
};

/** Starts a server. A handler that throws is a fault of the simulator: it says so on stderr and cuts the connection. */
export async function listenObjects(handler: ObjectHandler, config: WireConfig = {}): Promise<WireServer> {
  const { tls, host = '127.0.0.1', port = 0 } = config;
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, tls !== undefined, handler);
  };
  const server: Server =
    tls === undefined
      ? createServer({ noDelay: true }, accept)
      : createTlsServer({ ...tls, minVersion: 'TLSv1.2' }, accept);
  // Somebody who does not trust our certificate hangs up: that is their affair.
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: 1024 }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    get connections() {
      return sockets.size;
    },
    cut,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
