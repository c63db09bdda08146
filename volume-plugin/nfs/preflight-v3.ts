import { type Context, newContext } from '../../shared/context.ts';
import {
  type Export,
  exportsCall,
  MOUNT_PROGRAM,
  MOUNT_VERSION,
  type MountOutcome,
  mountCall,
  mountNull,
  unmountCall,
} from './mount-protocol.ts';
import { askPort } from './portmap.ts';
import { RpcError } from './rpc.ts';
import { type RpcConnection, type SourcePort, withConnection } from './rpc-connection.ts';

/** What clients of NFS 3 ask before they mount: where the MOUNT service is, what it exports, and whether to this host. */

/** A server whose NFS was reached. */
export interface Server {
  readonly address: string;
  readonly port: number;
  readonly portmapPort: number;
  readonly from: SourcePort;
}

/**
 * The TCP port of the MOUNT service: what the portmapper says, or NFS's own, on which servers of clouds have it when their
 * portmapper cannot be reached. Errors: RpcError.
 */
export const findMountd = async (server: Server, nfs: RpcConnection, ms: number, c: Context): Promise<number> => {
  const step = newContext(c.log, ms, c);
  const asked = askPort({ ...server, port: server.portmapPort }, MOUNT_PROGRAM, MOUNT_VERSION, ms, c).then((port) => {
    if (port === undefined) throw new RpcError('unavailable', 'its portmapper knows no MOUNT service of version 3');
    return port;
  });
  const own = nfs.call(mountNull, step).then(() => server.port);
  try {
    return await Promise.any([asked, own]);
  } catch (error) {
    // The portmapper is what people can do something about.
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
};

/** What the MOUNT service says of a path. */
export interface LookedUp {
  readonly outcome: MountOutcome;
  /** Asked for only when the path is not for this host; undefined: not told. */
  readonly exports: readonly Export[] | undefined;
}

/** Mounts and unmounts as far as the server is concerned. Errors: RpcError. */
export const lookUpExport = (
  server: Server,
  mountPort: number,
  path: string,
  ms: number,
  c: Context,
): Promise<LookedUp> =>
  withConnection(
    { ...server, port: mountPort },
    async (mountd, step) => {
      const outcome = await mountd.call(mountCall(path), step);
      if (outcome !== 'mounted' && outcome !== 'wants-kerberos') {
        return { outcome, exports: await listExports(mountd, step) };
      }
      // The server only keeps a list for people to read.
      await mountd.call(unmountCall(path), step).catch((error: unknown) => {
        c.log.debug('a look at an export was not undone', { path, error });
      });
      return { outcome, exports: undefined };
    },
    ms,
    c,
  );

/** What the server exports, for an error's text; undefined when it does not tell. */
export const readExports = async (
  server: Server,
  nfs: RpcConnection,
  ms: number,
  c: Context,
): Promise<readonly Export[] | undefined> => {
  const step = newContext(c.log, ms, c);
  try {
    const port = await findMountd(server, nfs, ms, step);
    return await withConnection({ ...server, port }, listExports, ms, step);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    c.log.debug('the server does not tell what it exports', { server: server.address, error });
    return undefined;
  }
};

const listExports = (mountd: RpcConnection, c: Context): Promise<readonly Export[] | undefined> =>
  mountd.call(exportsCall, c).catch((error: unknown) => {
    if (!(error instanceof RpcError)) throw error;
    c.log.debug('the server does not tell what it exports', { error });
    return undefined;
  });
