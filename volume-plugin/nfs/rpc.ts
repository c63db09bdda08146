import { MalformedXdr, XdrReader, XdrWriter } from './xdr.ts';

/** ONC-RPC: calls, what is answered to them, and the records that carry both over TCP. RFC 5531. */

const CALL = 0;
const REPLY = 1;
const RPC_VERSION = 2;
const AUTH_NONE = 0;
const AUTH_SYS = 1;
/** Of a verifier. */
const LONGEST_AUTH = 400;
/** The longest record that is taken, in bytes: a server with thousands of exports lists them in less. */
const LONGEST_RECORD = 1 << 20;
const LAST_FRAGMENT = 0x80000000;

const NO_RPC = 'what it sends is no answer of NFS';

/** `uid` and `gid` are root's. */
export type Credentials = 'none' | 'root';

/** One procedure, and how its arguments and results look. */
export interface RpcCall<T> {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** `none` when absent. */
  readonly credentials?: Credentials;
  readonly write?: (args: XdrWriter) => void;
  readonly read: (results: XdrReader) => T;
}

/** What went wrong, by what one does about it. */
export type RpcTrouble =
  /** Nobody listens there, or no way leads there. */
  | 'unreachable'
  /** The connection stands, and no answer comes. */
  | 'silent'
  /** The connection ended before the answer. */
  | 'closed'
  /** What came is no answer in this protocol. */
  | 'garbage'
  /** No such program, procedure, or it failed in itself. */
  | 'unavailable'
  /** Not this version of the program. */
  | 'version'
  /** Not for this caller. */
  | 'auth';

export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly trouble: RpcTrouble;
  /** The TCP port that was tried. */
  readonly port: number | undefined;

  /** `message` says in a few words what happened, for users. */
  constructor(trouble: RpcTrouble, message: string, options: { cause?: unknown; port?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.trouble = trouble;
    this.port = options.port;
  }
}

/** A call as one record of one fragment. `machine` is this host's name, for the server's log. */
export const encodeCall = (xid: number, call: RpcCall<unknown>, machine: string): Buffer => {
  const message = new XdrWriter().u32(xid).u32(CALL).u32(RPC_VERSION);
  message.u32(call.program).u32(call.version).u32(call.procedure);
  if (call.credentials === 'root') message.u32(AUTH_SYS).opaque(rootCredentials(machine));
  else message.u32(AUTH_NONE).u32(0);
  message.u32(AUTH_NONE).u32(0);
  call.write?.(message);
  const { bytes } = message;
  const header = new XdrWriter().u32((LAST_FRAGMENT | bytes.length) >>> 0);
  return Buffer.concat([header.bytes, bytes]);
};

/** AUTH_SYS: a stamp, the host's name, user, group, and no further groups. */
const rootCredentials = (machine: string): Buffer =>
  new XdrWriter().u32(0).text(machine.slice(0, 255)).u32(0).u32(0).u32(0).bytes;

/** An answer: to which call, and what to make of it. */
export interface RpcReply {
  readonly xid: number;
  /** What the procedure answered. Throws RpcError for a call that was not carried out. */
  results(): XdrReader;
}

/** Takes a record for an answer. Throws RpcError `garbage`. */
export const decodeReply = (record: Buffer): RpcReply =>
  orGarbage(() => {
    const message = new XdrReader(record);
    const xid = message.u32();
    if (message.u32() !== REPLY) throw new MalformedXdr('not an answer');
    return { xid, results: () => orGarbage(() => accepted(message)) };
  });

/** Runs what reads an answer; when that is not what it should be, throws RpcError `garbage`. */
export const orGarbage = <T>(read: () => T): T => {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof MalformedXdr)) throw cause;
    throw new RpcError('garbage', NO_RPC, { cause });
  }
};

const ACCEPTED = 0;
const AUTH_ERROR = 1;

const accepted = (message: XdrReader): XdrReader => {
  if (message.u32() !== ACCEPTED) {
    if (message.u32() === AUTH_ERROR) throw new RpcError('auth', authReason(message.u32()));
    throw new RpcError('unavailable', 'it speaks another version of RPC');
  }
  message.u32();
  message.opaque(LONGEST_AUTH);
  const state = message.u32();
  switch (state) {
    case 0:
      return message;
    case 1:
      throw new RpcError('unavailable', 'it has no such program');
    case 2:
      throw new RpcError('version', `it has versions ${message.u32()} to ${message.u32()}`);
    case 3:
      throw new RpcError('unavailable', 'it has no such procedure');
    case 4:
      throw new RpcError('unavailable', 'it does not understand the arguments');
    case 5:
      throw new RpcError('unavailable', 'it failed in itself');
    default:
      throw new MalformedXdr(`no state of an answer: ${state}`);
  }
};

const authReason = (state: number): string =>
  ({
    1: 'it does not take these credentials',
    2: 'it wants new credentials',
    5: 'it wants stronger credentials than AUTH_SYS, such as Kerberos',
  })[state] ?? `it does not take AUTH_SYS (${state})`;

/** Puts together the records of a stream that comes in pieces, each of one or several fragments. */
export class RecordReader {
  #pending: Buffer = Buffer.alloc(0);
  readonly #fragments: Buffer[] = [];
  #size = 0;

  /** Answers the records that are whole by now. Throws RpcError `garbage` for one that is too long to be one. */
  add(chunk: Buffer): Buffer[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const records: Buffer[] = [];
    while (this.#pending.length >= 4) {
      const header = this.#pending.readUInt32BE();
      const length = header & ~LAST_FRAGMENT;
      if (this.#size + length > LONGEST_RECORD) throw new RpcError('garbage', NO_RPC);
      if (this.#pending.length < 4 + length) break;
      if (length > 0) this.#fragments.push(this.#pending.subarray(4, 4 + length));
      this.#size += length;
      this.#pending = this.#pending.subarray(4 + length);
      if ((header & LAST_FRAGMENT) !== 0) {
        records.push(Buffer.concat(this.#fragments.splice(0)));
        this.#size = 0;
      }
    }
    return records;
  }
}
