import { type Context, newContext, throwIfDone } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import type { MountWish } from './mounted-share.ts';
import { askVersions } from './nfs-versions.ts';
import { NFS_PROGRAM, nfsNull } from './nfs4-compound.ts';
import { lookUpPath } from './nfs4-path.ts';
import { askPort, PORTMAP_PORT } from './portmap.ts';
import { pluginErrorOf, refusedShare, unofferedVersion, type Withheld, withheldShare } from './preflight-errors.ts';
import { findMountd, lookUpExport, readExports, type Server } from './preflight-v3.ts';
import { RpcError } from './rpc.ts';
import { RpcConnection, type SourcePort, withConnection } from './rpc-connection.ts';
import { type NameSources, resolveServer, SYSTEM_NAMES } from './server-name.ts';
import type { NfsVersion, Share } from './share.ts';
import { mountOptionsFor } from './vendors.ts';

/**
 * A look at an NFS server before anything is mounted from it: the kernel's mount waits for minutes for a server that is
 * not there, and says little about one that refuses.
 */

export const NFS_PORT = 2049;
/** Each step may take so long, in milliseconds. */
const STEP_MS = 2_000;
/** And all of them, in steps: less than 5 s. */
const STEPS_IN_ALL = 2.3;
/** Addresses of one name that are tried. */
const MOST_ADDRESSES = 4;

/** Where to look, other than usual: for tests. */
export interface Ways {
  readonly names: NameSources;
  readonly portmapPort: number;
  /** Of shares that name no port. */
  readonly nfsPort: number;
  readonly stepMs: number;
}

const WANTS_KERBEROS = 'it wants Kerberos, which the plugin does not have';

/** Linux exports are `secure` unless they say otherwise; clouds' are not. */
const PERHAPS_SECURE = '; exports that are "secure" refuse mounts with noresvport';

const USUAL: Ways = { names: SYSTEM_NAMES, portmapPort: PORTMAP_PORT, nfsPort: NFS_PORT, stepMs: STEP_MS };

/** What a mount needs to know of a server that is there and exports the path. */
export interface Looked {
  /** The server's address (`addr=`), and this host's as the server sees it (`clientaddr=`). */
  readonly address: string;
  readonly ownAddress: string;
  /** What to try, best first; never empty. 3 only when 4 is not wished for or cannot be had, and then alone. */
  readonly versions: readonly NfsVersion[];
  /** TCP port of NFS, for these versions. */
  readonly port: number;
  /** Of version 3: TCP port of the MOUNT service (`mountport=`). */
  readonly mountPort?: number;
  /** False: whether the path is there only the mount can tell. */
  readonly pathSeen: boolean;
}

/**
 * Resolves the server's name, connects, and asks which versions it speaks and whether it exports the path to this host:
 * each of these within 2 s, all within 5 s. Errors: SHARE_UNRESOLVED, SHARE_UNREACHABLE, SHARE_SILENT, SHARE_VERSION,
 * SHARE_MISSING, SHARE_REFUSED.
 */
export const preflight = async (share: Share, wish: MountWish, c: Context, ways: Ways = USUAL): Promise<Looked> => {
  throwIfDone(c);
  const wanted = wish.version === undefined ? share.versions : [wish.version];
  const from = sourcePort(share, wish, wanted);
  const look = { share, wanted, from, ways, c: newContext(c.log, ways.stepMs * STEPS_IN_ALL, c) };
  try {
    const addresses = await resolveServer(share.server, ways.names, ways.stepMs, look.c);
    const { server, nfs } = await reach(look, addresses.slice(0, MOST_ADDRESSES));
    try {
      return await lookAt(look, server, nfs);
    } finally {
      nfs.close();
    }
  } catch (error) {
    if (c.signal.aborted) throw c.signal.reason;
    throw pluginErrorOf(share.id, share.port ?? ways.nfsPort, error);
  }
};

/**
 * Asks an NFS server whether it is there, within 2 s; whatever it answers will do. `server` is an address, or a name that
 * is resolved first; `share` is what errors call it. Errors: SHARE_UNRESOLVED, SHARE_UNREACHABLE, SHARE_SILENT.
 */
export const ping = async (
  server: string,
  port: number,
  c: Context,
  share: string = server,
  { names, stepMs }: Ways = USUAL,
): Promise<void> => {
  throwIfDone(c);
  const step = newContext(c.log, stepMs, c);
  try {
    const [address = server] = await resolveServer(server, names, stepMs, step);
    const to = { address, port, from: 'any' } as const;
    await withConnection(to, (connection, within) => connection.call(nfsNull(4), within), stepMs, step);
  } catch (error) {
    if (c.signal.aborted) throw c.signal.reason;
    if (!isAnswer(error)) throw pluginErrorOf(share, port, error);
  }
};

/** A server that has no version 4, or refuses: it is there. */
const isAnswer = (error: unknown): boolean =>
  error instanceof RpcError && ['version', 'unavailable', 'auth'].includes(error.trouble);

/** The look comes from where the mount will come from. */
const sourcePort = (share: Share, wish: MountWish, [best = '4.2']: readonly NfsVersion[]): SourcePort =>
  'noresvport' in mountOptionsFor(share.vendor, best, wish.options) ? 'any' : 'reserved';

/** One look. */
interface Look {
  readonly share: Share;
  readonly wanted: readonly NfsVersion[];
  readonly from: SourcePort;
  readonly ways: Ways;
  /** Of the whole. */
  readonly c: Context;
}

const stepOf = ({ ways, c }: Look): Context => newContext(c.log, ways.stepMs, c);

interface Reached {
  readonly server: Server;
  readonly nfs: RpcConnection;
}

/** Connects to the first address that takes it. Errors: RpcError. */
const reach = async (look: Look, addresses: readonly string[]): Promise<Reached> => {
  const { share, wanted, from, ways, c } = look;
  const ms = ways.stepMs / addresses.length;
  const open = async (server: Server): Promise<Reached> => {
    return { server, nfs: await RpcConnection.open(server.address, server.port, from, newContext(c.log, ms, c)) };
  };
  let failure: unknown;
  for (const address of addresses) {
    const server = { address, port: share.port ?? ways.nfsPort, portmapPort: ways.portmapPort, from };
    try {
      return await open(server);
    } catch (error) {
      failure ??= error;
      const mayBeElsewhere = isRefused(error) && wanted.includes('3') && share.port === undefined;
      const elsewhere = mayBeElsewhere ? await unusualPort(server, ms, c) : undefined;
      if (elsewhere !== undefined) return await open({ ...server, port: elsewhere });
    }
  }
  throw failure;
};

/** Somebody is there, and has nothing at that port. */
const isRefused = (error: unknown): boolean => error instanceof RpcError && codeOf(error.cause) === 'ECONNREFUSED';

/** Where the portmapper says that NFS 3 is; undefined: where it usually is, or nowhere, or there is no portmapper. */
const unusualPort = async (server: Server, ms: number, c: Context): Promise<number | undefined> => {
  const at = { address: server.address, port: server.portmapPort };
  const port = await askPort(at, NFS_PROGRAM, 3, ms, c).catch((error: unknown) => {
    if (!(error instanceof RpcError)) throw error;
    return undefined;
  });
  return port === server.port ? undefined : port;
};

const lookAt = async (look: Look, server: Server, nfs: RpcConnection): Promise<Looked> => {
  const { share, wanted, c } = look;
  const offered = await askVersions(nfs, wanted, stepOf(look));
  const versions = wanted.filter((version) => offered.includes(version));
  if (versions.length === 0) throw unofferedVersion(share, wanted, offered);
  const found = { address: server.address, ownAddress: nfs.ownAddress, port: server.port };
  const fours = versions.filter((version) => version !== '3');
  if (fours.length === 0) return { ...found, ...(await lookAtVersion3(look, server, nfs)) };

  const minors = fours.map((version) => Number(version.slice(2)));
  const path = await lookUpPath(nfs, share.path, minors, stepOf(look));
  switch (path.outcome) {
    case 'there':
      return { ...found, versions: fours, pathSeen: true };
    case 'unknown':
      c.log.debug('whether a path is exported the mount must tell', { share: share.id, reason: path.reason });
      return { ...found, versions: fours, pathSeen: false };
    case 'refused':
      throw refusedShare(share, look.from === 'any' ? `${path.reason}${PERHAPS_SECURE}` : path.reason);
    case 'missing': {
      const withheld = { refused: false, ...path };
      // Servers without a root for version 4 may have the path for version 3; what is no folder is none there, either.
      if (versions.includes('3') && path.reason === undefined)
        return { ...found, ...(await lookAtVersion3(look, server, nfs, withheld)) };
      throw withheldShare(share, withheld, await readExports(server, nfs, look.ways.stepMs, c), nfs.ownAddress);
    }
  }
};

/** `withheld`: what version 4 said of the path, when that was asked. */
const lookAtVersion3 = async (
  { share, ways: { stepMs }, c }: Look,
  server: Server,
  nfs: RpcConnection,
  withheld?: Withheld,
): Promise<Pick<Looked, 'versions' | 'mountPort' | 'pathSeen'>> => {
  const asked = findMountd(server, nfs, stepMs, c).then(async (mountPort) => {
    return { mountPort, ...(await lookUpExport(server, mountPort, share.path, stepMs, c)) };
  });
  const { mountPort, outcome, exports } = await asked.catch((error: unknown) => {
    // Where version 3 is not to be had, what version 4 said counts.
    if (withheld === undefined || !(error instanceof RpcError)) throw error;
    throw withheldShare(share, withheld, undefined, nfs.ownAddress);
  });
  if (outcome === 'mounted') return { versions: ['3'], mountPort, pathSeen: true };
  if (outcome === 'wants-kerberos') throw refusedShare(share, WANTS_KERBEROS);
  if (outcome === 'failed' && withheld === undefined) return { versions: ['3'], mountPort, pathSeen: false };
  throw withheldShare(share, { ...withheld, refused: outcome === 'refused' }, exports, nfs.ownAddress);
};
