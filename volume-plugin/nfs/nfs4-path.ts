import { type Context, sleep } from '../../shared/context.ts';
import {
  type CompoundResult,
  compound,
  type FileKind,
  getHandle,
  getKind,
  lookUp,
  NFS4,
  type Operation,
  putHandle,
  putRoot,
} from './nfs4-compound.ts';
import { Nfs4Session } from './nfs4-session.ts';
import { RpcError } from './rpc.ts';
import type { RpcConnection } from './rpc-connection.ts';

/** The path of a share, as a server of NFS 4 lets this host see it. */
export type Nfs4Path =
  | { readonly outcome: 'there' }
  /** `depth` names of the path are there, and the next is not, or is no folder. */
  | { readonly outcome: 'missing'; readonly depth: number; readonly reason?: string }
  | { readonly outcome: 'refused'; readonly reason: string }
  /** The server does not say, and only a mount can tell. */
  | { readonly outcome: 'unknown'; readonly reason: string };

/** Names in one call; servers take 16 operations and more. */
const NAMES_IN_A_CALL = 8;
const PAUSE_MS = 100;

type Run = (operations: readonly Operation<unknown>[], c: Context) => Promise<CompoundResult>;

/**
 * Looks a path up from the server's root. `minors` are the minor versions that the server has; before them 0 is tried,
 * which needs no session. Errors: RpcError; `silent` also for a server that asks to ask later until time is up.
 */
export const lookUpPath = async (
  connection: RpcConnection,
  path: string,
  minors: readonly number[],
  c: Context,
): Promise<Nfs4Path> => {
  const names = path.split('/').filter((name) => name !== '');
  const simply = await walk((operations, c) => connection.call(compound(0, operations), c), names, c);
  if (simply !== 'other-version') return simply;
  const minor = minors.find((one) => one > 0);
  if (minor === undefined) return { outcome: 'unknown', reason: 'no minor version is taken' };
  let session: Nfs4Session;
  try {
    session = await Nfs4Session.open(connection, minor, c);
  } catch (error) {
    if (!(error instanceof RpcError) || error.trouble !== 'unavailable') throw error;
    return { outcome: 'unknown', reason: error.message };
  }
  try {
    const found = await walk((operations, c) => session.run(operations, c), names, c);
    return found === 'other-version' ? { outcome: 'unknown', reason: 'no minor version is taken' } : found;
  } finally {
    // The server forgets it by itself after a while.
    await session.close(c).catch((error: unknown) => c.log.debug('an NFS session was left behind', { error }));
  }
};

const walk = async (run: Run, names: readonly string[], c: Context): Promise<Nfs4Path | 'other-version'> => {
  let handle: Buffer | undefined;
  let kind: FileKind = 'folder';
  for (let depth = 0; depth === 0 || depth < names.length; depth += NAMES_IN_A_CALL) {
    const piece = names.slice(depth, depth + NAMES_IN_A_CALL);
    const begin = handle === undefined ? putRoot : putHandle(handle);
    const { status, results } = await patiently(run, [begin, ...piece.map(lookUp), getKind, getHandle], c);
    if (status !== NFS4.OK) return judge(status, depth + Math.max(0, results.length - 1));
    [kind, handle] = results.slice(-2) as [FileKind, Buffer];
  }
  if (kind === 'folder') return { outcome: 'there' };
  if (kind === 'link') return { outcome: 'unknown', reason: 'it is a symbolic link' };
  return { outcome: 'missing', depth: names.length, reason: 'it is no folder' };
};

/** Asks again while the server has to look something up itself, or lets clients of before its start come back first. */
const patiently = async (run: Run, operations: readonly Operation<unknown>[], c: Context): Promise<CompoundResult> => {
  for (;;) {
    const result = await run(operations, c);
    if (result.status !== NFS4.DELAY && result.status !== NFS4.GRACE) return result;
    await sleep(PAUSE_MS, c).catch((cause: unknown) => {
      throw new RpcError('silent', 'it asks to ask later', { cause });
    });
  }
};

const judge = (status: number, depth: number): Nfs4Path | 'other-version' => {
  switch (status) {
    case NFS4.NOENT:
      return { outcome: 'missing', depth };
    case NFS4.NAMETOOLONG:
    case NFS4.BADNAME:
    case NFS4.BADCHAR:
      return { outcome: 'missing', depth, reason: 'a name in it is too long or has characters that names cannot have' };
    case NFS4.MINOR_VERS_MISMATCH:
      return 'other-version';
    case NFS4.NOTDIR:
      return { outcome: 'missing', depth, reason: 'a name on the way is no folder' };
    case NFS4.PERM:
    case NFS4.ACCESS:
      return { outcome: 'refused', reason: 'permission denied' };
    case NFS4.WRONGSEC:
      return { outcome: 'refused', reason: 'it wants Kerberos, which the plugin does not have' };
    default:
      // A symbolic link on the way, or a server in trouble: the mount follows, or says more.
      return { outcome: 'unknown', reason: `status ${status} of NFS 4` };
  }
};
