import type { XdrReader } from '../../../../volume-plugin/nfs/xdr.ts';
import { XdrWriter } from '../../../../volume-plugin/nfs/xdr.ts';
import { type Manners, RpcServer, type Served, type ServedCall } from './rpc-server.ts';

/** An NFS server as far as a look at it goes: portmapper, MOUNT, NULL of NFS 3, and compounds of NFS 4 with and without sessions. */

const NFS = 100003;
const MOUNT = 100005;
/** AUTH_SYS and Kerberos. */
const SYS = 1;
const KERBEROS = 390003;

interface ServedExport {
  readonly hosts?: readonly string[];
  /** mountstat3 that MNT answers; 0 when absent. */
  readonly status?: number;
  readonly kerberos?: boolean;
}

export interface NfsTraits {
  /** Of version 4; none when empty. */
  readonly minors?: readonly number[];
  readonly three?: boolean;
  /** Folders as version 4 shows them; those above are there, too. */
  readonly folders?: readonly string[];
  /** `/srv/x` → 'file', 'link', or the nfsstat4 that looking it up answers. */
  readonly odd?: Readonly<Record<string, 'file' | 'link' | number>>;
  readonly exports?: Readonly<Record<string, ServedExport>>;
  /** Where MOUNT is: a port of its own that the portmapper tells, or that of NFS; undefined: nowhere. */
  readonly mountd?: 'own' | 'nfs';
  readonly portmapper?: 'there' | 'silent' | 'gone';
  /** So many compounds are answered with "later" first. */
  readonly delays?: number;
  /** Comes before all else. */
  readonly meet?: (call: ServedCall) => Served | undefined;
  readonly manners?: Manners;
  readonly host?: string;
}

export class FakeNfsServer {
  readonly nfs: RpcServer;
  readonly mountd: RpcServer;
  readonly portmapper: RpcServer;
  /** Numbers of all operations of NFS 4 that were tried. */
  readonly operations: readonly number[];

  static async start(traits: NfsTraits): Promise<FakeNfsServer> {
    const folders = new Set(['/', ...(traits.folders ?? []).flatMap(upwards)]);
    const compounds = new Compounds(traits, folders);
    const serve = (call: ServedCall): Served => {
      const met = traits.meet?.(call);
      if (met !== undefined) return met;
      if (call.program === NFS) return serveNfs(call, traits, compounds);
      if (call.program === MOUNT && traits.mountd === 'nfs') return serveMount(call, traits);
      return { state: 1 };
    };
    const nfs = await RpcServer.listen(serve, traits.manners, traits.host);
    const mountd = await RpcServer.listen((call) => serveMount(call, traits), traits.manners, traits.host);
    const portmapper = await RpcServer.listen(
      (call) => {
        if (traits.portmapper === 'silent') return 'silence';
        return servePortmap(call, { [MOUNT]: traits.mountd === 'own' ? mountd.port : 0, [NFS]: nfs.port });
      },
      traits.manners,
      traits.host,
    );
    if (traits.portmapper === 'gone') await portmapper.close();
    return new FakeNfsServer(nfs, mountd, portmapper, compounds.operations);
  }

  private constructor(nfs: RpcServer, mountd: RpcServer, portmapper: RpcServer, operations: readonly number[]) {
    this.operations = operations;
    this.nfs = nfs;
    this.mountd = mountd;
    this.portmapper = portmapper;
  }

  async close(): Promise<void> {
    await Promise.all([this.nfs.close(), this.mountd.close(), this.portmapper.close().catch(() => undefined)]);
  }
}

const upwards = (path: string): string[] => {
  const names = path.split('/').slice(1);
  return names.map((_, at) => `/${names.slice(0, at + 1).join('/')}`);
};

const ok = (fill: (results: XdrWriter) => unknown = () => undefined): Served => {
  const results = new XdrWriter();
  fill(results);
  return { results };
};

const servePortmap = ({ version, args }: ServedCall, ports: Readonly<Record<number, number>>): Served => {
  const port = ports[args.u32()] ?? 0;
  if (version === 2) return ok((results) => results.u32(port));
  return ok((results) => results.text(port === 0 ? '' : `::1.${port >> 8}.${port & 255}`));
};

const serveMount = ({ version, procedure, args }: ServedCall, { exports = {} }: NfsTraits): Served => {
  if (version !== 3) return { state: 2, versions: [3, 3] };
  if (procedure === 1) {
    const path = args.text(1024);
    const found = Object.entries(exports).find(([one]) => path === one || path.startsWith(`${one}/`))?.[1];
    const status = found === undefined ? 13 : (found.status ?? 0);
    if (status !== 0) return ok((results) => results.u32(status));
    const flavour = found?.kerberos === true ? KERBEROS : SYS;
    return ok((results) => results.u32(0).opaque(Buffer.from('handle')).u32(1).u32(flavour));
  }
  if (procedure !== 5) return ok();
  return ok((results) => {
    for (const [path, { hosts = [] }] of Object.entries(exports)) {
      results.u32(1).text(path);
      for (const host of hosts) results.u32(1).text(host);
      results.u32(0);
    }
    results.u32(0);
  });
};

const serveNfs = (call: ServedCall, { minors = [], three = false }: NfsTraits, compounds: Compounds): Served => {
  const known = [...(three ? [3] : []), ...(minors.length > 0 ? [4] : [])];
  const [lowest = 2, highest = 2] = [known[0], known.at(-1)];
  if (!known.includes(call.version)) return { state: 2, versions: [lowest, highest] };
  if (call.procedure === 0) return ok();
  return compounds.serve(call.args);
};

const OK = 0;
const NOENT = 2;
const NOTDIR = 20;
const DELAY = 10008;
const MINOR_VERS_MISMATCH = 10021;
const OP_NOT_IN_SESSION = 10071;
const BADSESSION = 10052;
const SESSION = Buffer.from('session-of-tests');

/** Operation by operation, with a current path for a current file handle. */
class Compounds {
  readonly operations: number[] = [];
  readonly #traits: NfsTraits;
  readonly #folders: ReadonlySet<string>;
  #delays: number;
  #sequence = 0;

  constructor(traits: NfsTraits, folders: ReadonlySet<string>) {
    this.#traits = traits;
    this.#folders = folders;
    this.#delays = traits.delays ?? 0;
  }

  serve(args: XdrReader): Served {
    args.text(64);
    const minor = args.u32();
    const count = args.u32();
    if (this.#traits.minors?.includes(minor) !== true) {
      return ok((reply) => reply.u32(MINOR_VERS_MISMATCH).text('').u32(0));
    }
    const results = new XdrWriter();
    const at = { path: '/', inSession: minor === 0 };
    let status = OK;
    let done = 0;
    for (; done < count && status === OK; done += 1) {
      const number = args.u32();
      this.operations.push(number);
      const own = new XdrWriter();
      status = this.#operate(number, args, own, at);
      results.u32(number).u32(status);
      if (status === OK) results.fixed(own.bytes);
    }
    return ok((reply) => reply.u32(status).text('').u32(done).fixed(results.bytes));
  }

  #operate(number: number, args: XdrReader, own: XdrWriter, at: { path: string; inSession: boolean }): number {
    const outside = this.#manage(number, args, own, at);
    if (outside !== undefined) return outside;
    if (!at.inSession) return OP_NOT_IN_SESSION;
    if (this.#delays > 0) {
      this.#delays -= 1;
      return DELAY;
    }
    switch (number) {
      case 24:
        return this.#enter('/', at);
      case 22:
        return this.#enter(args.opaque(128).toString(), at);
      case 15:
        return this.#lookUp(args.text(255), at);
      case 9: {
        args.u32();
        args.u32();
        const odd = this.#traits.odd?.[at.path];
        own.u32(1).u32(2).u32(4);
        own.u32(odd === 'file' ? 1 : odd === 'link' ? 5 : 2);
        return OK;
      }
      case 10:
        own.opaque(Buffer.from(at.path));
        return OK;
      default:
        return 10044;
    }
  }

  /** Clients and sessions; undefined for other operations. */
  #manage(number: number, args: XdrReader, own: XdrWriter, at: { inSession: boolean }): number | undefined {
    switch (number) {
      case 42:
        own.fixed(Buffer.from('clientid')).u32(1).u32(0).u32(0).fixed(Buffer.alloc(8)).text('owner').text('').u32(0);
        return OK;
      case 43:
        this.#sequence = 0;
        own.fixed(SESSION).u32(1).u32(0);
        for (let word = 0; word < 14; word += 1) own.u32(0);
        return OK;
      case 53: {
        const same = args.fixed(16).equals(SESSION) && args.u32() === this.#sequence + 1;
        for (let word = 0; word < 3; word += 1) args.u32();
        if (!same) return BADSESSION;
        this.#sequence += 1;
        at.inSession = true;
        own.fixed(SESSION);
        for (let word = 0; word < 5; word += 1) own.u32(0);
        return OK;
      }
      case 44:
      case 57:
        return OK;
      default:
        return undefined;
    }
  }

  #lookUp(name: string, at: { path: string }): number {
    const odd = this.#traits.odd?.[at.path];
    if (odd === 'file') return NOTDIR;
    return this.#enter(at.path === '/' ? `/${name}` : `${at.path}/${name}`, at);
  }

  #enter(path: string, at: { path: string }): number {
    const odd = this.#traits.odd?.[path];
    if (typeof odd === 'number') return odd;
    if (!this.#folders.has(path) && odd === undefined) return NOENT;
    at.path = path;
    return OK;
  }
}
