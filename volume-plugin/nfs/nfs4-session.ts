import { randomBytes } from 'node:crypto';
import type { Context } from '../../shared/context.ts';
import { type CompoundResult, compound, NFS4, type Operation } from './nfs4-compound.ts';
import { RpcError } from './rpc.ts';
import type { RpcConnection } from './rpc-connection.ts';

/**
 * A session of NFS 4.1, of one slot and without callbacks, as a client of its own beside the kernel's: needed to ask
 * anything of servers that have 4.0 switched off. RFC 8881, section 18.35 and following.
 */
export class Nfs4Session {
  readonly #connection: RpcConnection;
  readonly #minor: number;
  readonly #client: Buffer;
  readonly #id: Buffer;
  #sequence = 0;

  /** Errors: RpcError; `unavailable` when the server makes no session. */
  static async open(connection: RpcConnection, minor: number, c: Context): Promise<Nfs4Session> {
    const owner = Buffer.concat([Buffer.from('drayage-preflight '), randomBytes(12)]);
    const exchanged = await connection.call(compound(minor, [exchangeId(owner)]), c);
    const [identity] = exchanged.results as [Identity?];
    if (identity === undefined) throw noSession(exchanged);
    const created = await connection.call(compound(minor, [createSession(identity)]), c);
    const [id] = created.results as [Buffer?];
    if (id === undefined) throw noSession(created);
    return new Nfs4Session(connection, minor, identity.client, id);
  }

  private constructor(connection: RpcConnection, minor: number, client: Buffer, id: Buffer) {
    this.#connection = connection;
    this.#minor = minor;
    this.#client = client;
    this.#id = id;
  }

  /** Operations, one call after the other; the results are theirs alone. Errors: RpcError. */
  async run(operations: readonly Operation<unknown>[], c: Context): Promise<CompoundResult> {
    this.#sequence += 1;
    const all = [sequence(this.#id, this.#sequence), ...operations];
    const { status, results } = await this.#connection.call(compound(this.#minor, all), c);
    return { status, results: results.slice(1) };
  }

  /** Lets the server forget the session and its client. Errors: RpcError. */
  async close(c: Context): Promise<void> {
    await this.#connection.call(compound(this.#minor, [destroySession(this.#id)]), c);
    await this.#connection.call(compound(this.#minor, [destroyClient(this.#client)]), c);
  }
}

interface Identity {
  /** Eight bytes. */
  readonly client: Buffer;
  readonly sequence: number;
}

const noSession = ({ status }: CompoundResult): RpcError =>
  new RpcError('unavailable', status === NFS4.ACCESS ? 'it refuses a session' : `it makes no session (${status})`);

const NO_PROTECTION = 0;
const SESSION_ID_BYTES = 16;

const exchangeId = (owner: Buffer): Operation<Identity> => ({
  number: 42,
  write: (args) => args.fixed(randomBytes(8)).opaque(owner).u32(0).u32(NO_PROTECTION).u32(0),
  // What the server tells of itself behind that is of no use here; no operation follows.
  read: (results) => ({ client: Buffer.from(results.fixed(8)), sequence: results.u32() }),
});

const createSession = ({ client, sequence }: Identity): Operation<Buffer> => ({
  number: 43,
  write: (args) => {
    args.fixed(client).u32(sequence).u32(0);
    // Of calls, then of callbacks: padding, longest request, response and kept response, operations, slots, no RDMA.
    args.u32(0).u32(65_536).u32(65_536).u32(4096).u32(16).u32(1).u32(0);
    args.u32(0).u32(4096).u32(4096).u32(0).u32(2).u32(1).u32(0);
    // The program of callbacks, which there are none of, with no credentials.
    args.u32(0x40000000).u32(1).u32(0);
  },
  read: (results) => Buffer.from(results.fixed(SESSION_ID_BYTES)),
});

const sequence = (session: Buffer, number: number): Operation<undefined> => ({
  number: 53,
  write: (args) => args.fixed(session).u32(number).u32(0).u32(0).u32(0),
  read: (results) => {
    results.fixed(SESSION_ID_BYTES);
    for (let word = 0; word < 5; word += 1) results.u32();
    return undefined;
  },
});

const destroySession = (session: Buffer): Operation<undefined> => ({
  number: 44,
  write: (args) => args.fixed(session),
});

const destroyClient = (client: Buffer): Operation<undefined> => ({ number: 57, write: (args) => args.fixed(client) });
