import { createServer, type Socket } from 'node:net';
import { XdrReader, XdrWriter } from '../../../../volume-plugin/nfs/xdr.ts';

/** A real server of ONC-RPC over TCP on loopback, which can be told to behave badly. */

export interface ServedCall {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** 0: none, 1: AUTH_SYS. */
  readonly flavour: number;
  readonly args: XdrReader;
  /** Of whoever asks. */
  readonly port: number;
}

/** What to answer: results, why not, or nothing at all. */
export type Served =
  | { readonly results: XdrWriter }
  /** accept_stat, and the versions that there are. */
  | { readonly state: number; readonly versions?: readonly [number, number] }
  /** auth_stat. */
  | { readonly auth: number }
  | 'silence'
  | 'hang up';

export interface Manners {
  /** Bytes of each fragment of a record; the whole record when absent. */
  readonly fragment?: number;
  /** Sends byte by byte. */
  readonly dribble?: boolean;
  /** Added to the number of each call in its answer. */
  readonly xidShift?: number;
}

export class RpcServer {
  readonly port: number;
  /** `program.version.procedure` of each call, in order. */
  readonly calls: string[] = [];
  /** Of those who asked, by the same. */
  readonly ports = new Map<string, number>();
  readonly #close: () => Promise<void>;

  static async listen(
    serve: (call: ServedCall) => Served,
    manners: Manners = {},
    host = '127.0.0.1',
  ): Promise<RpcServer> {
    const sockets = new Set<Socket>();
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      // Clients cut connections off when they are done.
      socket.on('error', () => socket.destroy());
      socket.on(
        'data',
        splitter((record) => answer(socket, record, (call) => self.#serve(call, serve), manners)),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const address = server.address();
    const self = new RpcServer(typeof address === 'object' && address !== null ? address.port : 0, async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return self;
  }

  private constructor(port: number, close: () => Promise<void>) {
    this.port = port;
    this.#close = close;
  }

  close(): Promise<void> {
    return this.#close();
  }

  #serve(call: ServedCall, serve: (call: ServedCall) => Served): Served {
    const name = `${call.program}.${call.version}.${call.procedure}`;
    this.calls.push(name);
    this.ports.set(name, call.port);
    return serve(call);
  }
}

/** Calls of clients are one fragment each. */
const splitter = (take: (record: Buffer) => void): ((chunk: Buffer) => void) => {
  let pending = Buffer.alloc(0);
  return (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 4 && pending.length >= 4 + (pending.readUInt32BE() & 0x7fffffff)) {
      const end = 4 + (pending.readUInt32BE() & 0x7fffffff);
      take(pending.subarray(4, end));
      pending = pending.subarray(end);
    }
  };
};

const answer = (socket: Socket, record: Buffer, serve: (call: ServedCall) => Served, manners: Manners): void => {
  const call = new XdrReader(record);
  const [xid, , , program, version, procedure, flavour] = Array.from({ length: 7 }, () => call.u32()) as Seven;
  call.opaque(400);
  call.u32();
  call.opaque(400);
  const served = serve({ program, version, procedure, flavour, args: call, port: socket.remotePort ?? 0 });
  if (served === 'hang up') socket.destroy();
  if (typeof served === 'string') return;
  const reply = new XdrWriter().u32((xid + (manners.xidShift ?? 0)) >>> 0).u32(1);
  if ('auth' in served) reply.u32(1).u32(1).u32(served.auth);
  else if ('state' in served) {
    reply.u32(0).u32(0).u32(0).u32(served.state);
    for (const one of served.versions ?? []) reply.u32(one);
  } else reply.u32(0).u32(0).u32(0).u32(0).fixed(served.results.bytes);
  send(socket, reply.bytes, manners);
};

type Seven = [number, number, number, number, number, number, number];

const send = (socket: Socket, message: Buffer, { fragment = message.length, dribble = false }: Manners): void => {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += fragment) {
    const part = message.subarray(at, at + fragment);
    const header = Buffer.alloc(4);
    header.writeUInt32BE((part.length | (at + fragment >= message.length ? 0x80000000 : 0)) >>> 0);
    parts.push(header, part);
  }
  const bytes = Buffer.concat(parts);
  if (!dribble) socket.write(bytes);
  else for (const byte of bytes) socket.write(Buffer.of(byte));
};
