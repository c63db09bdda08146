import { readFile } from 'node:fs/promises';
import { connect, isIP, type Socket } from 'node:net';
import type * as Tls from 'node:tls';
import { codeOf } from '../../../shared/error-code.ts';
import { type Exceptions, exceptionsOf } from '../../../shared/no-proxy.ts';
import { HostLookup } from './host-lookup.ts';
import type { HttpOptions } from './http-client.ts';
import { HttpError } from './http-error.ts';
import type { Origin } from './message.ts';
import { type HttpProxy, parseProxy, WANTS_CREDENTIALS } from './proxy.ts';
import { troubleOf } from './troubles.ts';

/** Who gets the bytes of a connection. */
export interface Receiver {
  /** Where the next bytes are read to. */
  readonly place: () => Uint8Array;
  /** `count` bytes were read to where `place` said last. */
  readonly placed: (count: number) => void;
  /** Bytes that could not be read there: those of connections through a proxy with TLS. */
  readonly data: (bytes: Buffer) => void;
}

/** TLS is some MB of memory: it is loaded for an origin that wants it. */
const tls = (): typeof Tls => process.getBuiltinModule('node:tls');

const CONNECT_MS = 3_000;
const LONGEST_PROXY_HEAD = 16 * 1024;

/** Makes connections to origins: plain, with TLS, through a proxy. */
export class Transport {
  readonly #options: HttpOptions;
  readonly #lookup = new HostLookup();
  readonly #proxy: HttpProxy | undefined;
  readonly #isDirect: Exceptions;
  /** The last one of each origin, which makes the next handshake short. */
  readonly #sessions = new Map<string, Buffer>();
  #trust: Promise<Tls.SecureContext> | undefined;

  /** Errors: HttpError `proxy` when the option is none. */
  constructor(options: HttpOptions) {
    this.#options = options;
    this.#proxy = options.proxy === undefined ? undefined : parseProxy(options.proxy);
    this.#isDirect = exceptionsOf(options.noProxy ?? []);
  }

  /** The proxy on the way to this origin. */
  proxyOf({ host }: Origin): HttpProxy | undefined {
    return this.#proxy === undefined || this.#isDirect(host) ? undefined : this.#proxy;
  }

  /** What requests to this origin have in the place of their target, and beside their headers. */
  wireTarget(origin: Origin, target: string): string {
    return origin.tls || this.proxyOf(origin) === undefined ? target : `http://${origin.authority}${target}`;
  }

  moreHeaders(origin: Origin): string {
    return origin.tls ? '' : (this.proxyOf(origin)?.authorization ?? '');
  }

  /** A connection that is ready for a request. Errors: HttpError of the troubles before `closed`. */
  async open(origin: Origin, receiver: Receiver, signal: AbortSignal): Promise<Socket> {
    const limit = this.#options.connectMs ?? CONNECT_MS;
    const timeout = AbortSignal.timeout(limit);
    const ends = AbortSignal.any([signal, timeout]);
    try {
      return await this.#open(origin, receiver, ends);
    } catch (error) {
      if (signal.aborted) throw new HttpError('ended', 'the client was closed');
      if (timeout.aborted) {
        const proxy = this.proxyOf(origin);
        if (proxy === undefined) {
          throw new HttpError('unreachable', `${origin.key} does not take a connection within ${limit} ms`);
        }
        const text = `the proxy ${proxy.key} has not led to ${origin.key} within ${limit} ms`;
        throw new HttpError('proxy', text, { cause: error });
      }
      if (error instanceof HttpError) throw error;
      // What was kept may be what is wrong: a session of a server that is no more, or a file that was replaced.
      this.#sessions.delete(origin.key);
      this.#trust = undefined;
      throw troubleOf(error, origin.key, origin);
    }
  }

  async #open(origin: Origin, receiver: Receiver, signal: AbortSignal): Promise<Socket> {
    const proxy = this.proxyOf(origin);
    if (!origin.tls) {
      const connecting = this.#plain(proxy ?? origin, receiver, signal);
      return proxy === undefined ? connecting : ofProxy(connecting, proxy, origin, signal);
    }
    const secureContext = await this.#trusted();
    const session = this.#sessions.get(origin.key);
    const servername = this.#options.serverName ?? (isIP(origin.host) === 0 ? origin.host : '');
    const shared: Tls.ConnectionOptions = {
      // Without a name in the hello, the certificate has to have the address.
      host: origin.host,
      ...(servername !== '' && { servername }),
      ALPNProtocols: ['http/1.1'],
      ...(secureContext !== undefined && { secureContext }),
      ...(session !== undefined && { session }),
    };
    const options =
      proxy === undefined
        ? { ...shared, ...this.#target(origin), onread: onread(receiver) }
        : { ...shared, socket: await this.#tunnel(proxy, origin, signal) };
    const socket = tls().connect(options);
    if (proxy !== undefined) socket.on('data', receiver.data);
    socket.on('session', (known) => this.#sessions.set(origin.key, known));
    return standing(socket, 'secureConnect', signal);
  }

  #target({ host, port }: { readonly host: string; readonly port: number }) {
    return { host, port, lookup: this.#lookup.lookup, autoSelectFamily: true, noDelay: true };
  }

  #plain(
    to: { readonly host: string; readonly port: number },
    receiver: Receiver,
    signal: AbortSignal,
  ): Promise<Socket> {
    return standing(connect({ ...this.#target(to), onread: onread(receiver) }), 'connect', signal);
  }

  /** Asks the proxy for a way to the origin. */
  async #tunnel(proxy: HttpProxy, origin: Origin, signal: AbortSignal): Promise<Socket> {
    const socket = await ofProxy(standing(connect(this.#target(proxy)), 'connect', signal), proxy, origin, signal);
    const host = isIP(origin.host) === 6 ? `[${origin.host}]` : origin.host;
    const name = `${host}:${origin.port}`;
    socket.write(`CONNECT ${name} HTTP/1.1\r\nhost: ${name}\r\n${proxy.authorization}\r\n`, 'latin1');
    const head = await ofProxy(readTunnelHead(socket, proxy.key, signal), proxy, origin, signal);
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
    if (status === '200') return socket;
    socket.destroy();
    const why =
      status === undefined ? 'is no proxy' : status === '407' ? WANTS_CREDENTIALS : `answers ${status} for ${name}`;
    throw new HttpError('proxy', `the proxy ${proxy.key} ${why}`);
  }

  async #trusted(): Promise<Tls.SecureContext | undefined> {
    const { caFile, ca } = this.#options;
    if (caFile === undefined && ca === undefined) return undefined;
    this.#trust ??= (caFile === undefined ? Promise.resolve(ca) : readFile(caFile)).then(
      (pem) => tls().createSecureContext({ ca: pem }),
      (cause: unknown) => {
        throw new HttpError('tls', `${caFile} cannot be read (${codeOf(cause) ?? 'unknown'})`, { cause });
      },
    );
    try {
      return await this.#trust;
    } catch (error) {
      this.#trust = undefined;
      throw error instanceof HttpError
        ? error
        : new HttpError('tls', `${caFile ?? 'what is to be trusted'} has no certificates in PEM form`, {
            cause: error,
          });
    }
  }
}

/** What fails on the way to the proxy is not the store's fault. */
const ofProxy = async <T>(work: Promise<T>, proxy: HttpProxy, origin: Origin, signal: AbortSignal): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    if (error instanceof HttpError || signal.aborted) throw error;
    throw new HttpError('proxy', troubleOf(error, `the proxy ${proxy.key}`, origin).message, { cause: error });
  }
};

const onread = ({ place, placed }: Receiver) => ({
  buffer: place,
  callback: (count: number): boolean => {
    placed(count);
    return true;
  },
});

/** The socket, once it has connected. */
const standing = <S extends Socket>(socket: S, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<S> =>
  new Promise((resolve, reject) => {
    const settled = (): void => {
      signal.removeEventListener('abort', ended);
      socket.off(event, stands).off('error', failed).off('close', closed);
    };
    const stands = (): void => {
      settled();
      resolve(socket);
    };
    const failed = (error: unknown): void => {
      settled();
      // Destroying it may bring a second error, which says nothing new.
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    const closed = (): void => failed(Object.assign(new Error('closed'), { code: 'ECONNRESET' }));
    const ended = (): void => failed(signal.reason);
    socket.on(event, stands).on('error', failed).on('close', closed);
    signal.addEventListener('abort', ended);
    if (signal.aborted) ended();
  });

const readTunnelHead = (socket: Socket, name: string, signal: AbortSignal): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    const settled = (): void => {
      signal.removeEventListener('abort', ended);
      socket.off('data', more).off('error', failed).off('close', closed).pause();
    };
    const failed = (error: unknown): void => {
      settled();
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    const closed = (): void => failed(new HttpError('proxy', `the proxy ${name} closes the connection`));
    const ended = (): void => failed(signal.reason);
    const more = (data: Buffer): void => {
      text += data.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0 && text.length <= LONGEST_PROXY_HEAD) return;
      // Of TLS it is the client that speaks first.
      if (end < 0 || end + 4 !== text.length) {
        failed(new HttpError('proxy', `${name} is no proxy`));
        return;
      }
      settled();
      resolve(text);
    };
    socket.on('data', more).on('error', failed).on('close', closed);
    signal.addEventListener('abort', ended);
  });
