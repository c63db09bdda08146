import type { RpcCall } from './rpc.ts';
import type { XdrReader } from './xdr.ts';

/** The MOUNT protocol, version 3, which tells clients of NFS 3 what is exported and gives them its root. RFC 1813. */
export const MOUNT_PROGRAM = 100005;
export const MOUNT_VERSION = 3;

const NULL = 0;
const MNT = 1;
const UMNT = 3;
const EXPORT = 5;

const LONGEST_PATH = 1024;
const LONGEST_NAME = 255;
const LONGEST_HANDLE = 64;
const AUTH_SYS = 1;
const MOST_FLAVOURS = 32;

/** A folder that is exported, and to which hosts, in the server's words; none: to all. */
export interface Export {
  readonly path: string;
  readonly hosts: readonly string[];
}

export type MountOutcome =
  | 'mounted'
  /** There is no such folder, or it is no folder. */
  | 'missing'
  /** Not exported, or not to this host. */
  | 'refused'
  /** It is exported, and only to those who prove who they are. */
  | 'wants-kerberos'
  /** The server has trouble of its own. */
  | 'failed';

const call = { program: MOUNT_PROGRAM, version: MOUNT_VERSION } as const;

/** Does nothing. */
export const mountNull: RpcCall<void> = { ...call, procedure: NULL, read: () => undefined };

/** Asks for the root of an export, as a mount does; the server notes it down until `unmountCall`. */
export const mountCall = (path: string): RpcCall<MountOutcome> => ({
  ...call,
  procedure: MNT,
  credentials: 'root',
  write: (args) => args.text(path),
  read: mountOutcome,
});

export const unmountCall = (path: string): RpcCall<void> => ({
  ...call,
  procedure: UMNT,
  credentials: 'root',
  write: (args) => args.text(path),
  read: () => undefined,
});

/** What the server exports, whoever asks. */
export const exportsCall: RpcCall<readonly Export[]> = {
  ...call,
  procedure: EXPORT,
  read: (results) =>
    results.chain((one) => ({
      path: one.text(LONGEST_PATH),
      hosts: one.chain((host) => host.text(LONGEST_NAME)),
    })),
};

/** By mountstat3: EPERM, ENOENT, EACCES, ENOTDIR, ENAMETOOLONG as on Linux. */
const OUTCOMES: Readonly<Record<number, MountOutcome>> = {
  1: 'refused',
  2: 'missing',
  13: 'refused',
  20: 'missing',
  63: 'missing',
};

const mountOutcome = (results: XdrReader): MountOutcome => {
  const status = results.u32();
  if (status !== 0) return OUTCOMES[status] ?? 'failed';
  results.opaque(LONGEST_HANDLE);
  const flavours = Math.min(results.u32(), MOST_FLAVOURS);
  const known = Array.from({ length: flavours }, () => results.u32());
  // Servers that name none take what every client has.
  return known.length === 0 || known.includes(AUTH_SYS) ? 'mounted' : 'wants-kerberos';
};

/** The export that a path is in: the deepest. */
export const exportOf = (path: string, exports: readonly Export[]): Export | undefined =>
  exports
    .filter((one) => one.path === '/' || path === one.path || path.startsWith(`${one.path}/`))
    .sort((a, b) => b.path.length - a.path.length)[0];
