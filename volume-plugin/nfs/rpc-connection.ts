import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { type Context, newContext } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { decodeReply, encodeCall, orGarbage, RecordReader, type RpcCall, RpcError, type RpcReply } from './rpc.ts';

/**
 * Where a connection comes from: `reserved` is a port below 1024, which only root gets; exports that are `secure` (the
 * usual) ask for that. When none can be had, it is any.
 */
export type SourcePort = 'reserved' | 'any';

/** As the kernel's client does (xprt_min_resvport, xprt_max_resvport). */
const RESERVED = { first: 665, last: 1023 };
const RESERVED_ATTEMPTS = 16;

interface Waiting {
  readonly answered: (reply: RpcReply) => void;
  readonly failed: (error: unknown) => void;
}

/** A TCP connection to an RPC service. Calls may overlap; answers are told apart by their numbers. */
export class RpcConnection {
  readonly #socket: Socket;
  /** The other side, for errors. */
  readonly #where: string;
  readonly #records = new RecordReader();
  readonly #waiting = new Map<number, Waiting>();
  #xid = Math.floor(Math.random() * 0x100000000);
  #broken: RpcError | undefined;

  /**
   * Connects to an address (not a name). Errors: RpcError `unreachable`, also when there is no answer until the context
   * ends.
   */
  static async open(address: string, port: number, from: SourcePort, c: Context): Promise<RpcConnection> {
    let own = from === 'reserved' ? reservedPort() : undefined;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return new RpcConnection(await openSocket(address, port, own, c), `${address} port ${port}`);
      } catch (error) {
        if (c.signal.aborted) throw unreachable(address, port, c.signal.reason);
        const code = codeOf(error) ?? '';
        if (own === undefined || !OWN_PORT_TROUBLE.includes(code)) throw unreachable(address, port, error);
        // Somebody has that one: another; and whoever may not have one goes without.
        own = code === 'EACCES' || attempt >= RESERVED_ATTEMPTS ? undefined : reservedPort();
      }
    }
  }

  private constructor(socket: Socket, where: string) {
    this.#socket = socket;
    this.#where = where;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    const closed = (cause?: unknown): void =>
      this.#break(new RpcError('closed', `${where} takes the connection and cuts it off`, { cause }));
    socket.on('error', closed);
    socket.on('close', () => closed());
  }

  /** This host's address as the server sees it. */
  get ownAddress(): string {
    return this.#socket.localAddress ?? '';
  }

  /** Errors: RpcError; `silent` when the context ends first. */
  async call<T>(call: RpcCall<T>, c: Context): Promise<T> {
    if (this.#broken !== undefined) throw this.#broken;
    this.#xid = (this.#xid + 1) >>> 0;
    const reply = await this.#send(this.#xid, call, c);
    return orGarbage(() => call.read(reply.results()));
  }

  /** At once, and without leaving the port taken for a minute, as a connection does that is closed in order. */
  close(): void {
    this.#socket.resetAndDestroy();
  }

  #send(xid: number, call: RpcCall<unknown>, c: Context): Promise<RpcReply> {
    return new Promise((resolve, reject) => {
      const over = (): void =>
        waiting.failed(
          new RpcError('silent', `${this.#where} takes the connection and does not answer`, { cause: c.signal.reason }),
        );
      const done = (): void => {
        c.signal.removeEventListener('abort', over);
        this.#waiting.delete(xid);
      };
      const waiting: Waiting = {
        answered: (reply) => {
          done();
          resolve(reply);
        },
        failed: (error) => {
          done();
          reject(error);
        },
      };
      if (c.signal.aborted) {
        over();
        return;
      }
      this.#waiting.set(xid, waiting);
      c.signal.addEventListener('abort', over, { once: true });
      this.#socket.write(encodeCall(xid, call, hostname()));
    });
  }

  #take(chunk: Buffer): void {
    try {
      for (const record of this.#records.add(chunk)) {
        const reply = decodeReply(record);
        // An answer that nobody waits for came too late, or is a mistake of the server: as if it had not come.
        this.#waiting.get(reply.xid)?.answered(reply);
      }
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#break(new RpcError(error.trouble, `${this.#where}: ${error.message}`, { cause: error }));
      this.#socket.destroy();
    }
  }

  #break(error: RpcError): void {
    this.#broken ??= error;
    for (const waiting of [...this.#waiting.values()]) waiting.failed(this.#broken);
  }
}

/** `work` with a connection of its own and so many milliseconds. Errors: RpcError. */
export const withConnection = async <T>(
  to: { readonly address: string; readonly port: number; readonly from: SourcePort },
  work: (connection: RpcConnection, c: Context) => Promise<T>,
  ms: number,
  c: Context,
): Promise<T> => {
  const step = newContext(c.log, ms, c);
  const connection = await RpcConnection.open(to.address, to.port, to.from, step);
  try {
    return await work(connection, step);
  } finally {
    connection.close();
  }
};

/** What may be due to the port that was chosen here. */
const OWN_PORT_TROUBLE = ['EACCES', 'EADDRINUSE', 'EADDRNOTAVAIL'];

const reservedPort = (): number => RESERVED.first + Math.floor(Math.random() * (RESERVED.last - RESERVED.first + 1));

const openSocket = (address: string, port: number, own: number | undefined, c: Context): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port,
      noDelay: true,
      ...(own !== undefined && { localPort: own }),
    });
    const over = (): void => {
      socket.destroy();
      reject(c.signal.reason);
    };
    const failed = (error: Error): void => {
      c.signal.removeEventListener('abort', over);
      reject(error);
    };
    if (c.signal.aborted) {
      over();
      return;
    }
    c.signal.addEventListener('abort', over, { once: true });
    socket.once('error', failed);
    socket.once('connect', () => {
      c.signal.removeEventListener('abort', over);
      socket.off('error', failed);
      resolve(socket);
    });
  });

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection is cut off',
  EHOSTUNREACH: 'no way leads there',
  ENETUNREACH: 'no way leads there',
  DEADLINE: 'no answer',
};

const unreachable = (address: string, port: number, cause: unknown): RpcError => {
  const code = codeOf(cause) ?? 'DEADLINE';
  return new RpcError('unreachable', `${address} port ${port}: ${REASONS[code] ?? code}`, { cause, port });
};
