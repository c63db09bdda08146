import type { Context } from '../../shared/context.ts';
import { compound, NFS4, nfsNull, putRoot } from './nfs4-compound.ts';
import { RpcError } from './rpc.ts';
import type { RpcConnection } from './rpc-connection.ts';
import { NFS_VERSIONS, type NfsVersion } from './share.ts';

/**
 * Which of the wanted versions the server speaks, best first; if it is none of them, which others. Those are asked for
 * only then: a server that has one version need not be kind to whoever asks for another. Errors: RpcError, also for a
 * server that is there and has no NFS.
 */
export const askVersions = async (
  nfs: RpcConnection,
  wanted: readonly NfsVersion[],
  c: Context,
): Promise<readonly NfsVersion[]> => {
  const found = await ask(nfs, wanted, c);
  if (found.length > 0) return found;
  const others = NFS_VERSIONS.filter((version) => !wanted.includes(version));
  return ask(nfs, others, c).catch((error: unknown) => {
    if (!(error instanceof RpcError)) throw error;
    c.log.debug('what else a server speaks is not known', { error });
    return [];
  });
};

const ask = async (nfs: RpcConnection, versions: readonly NfsVersion[], c: Context): Promise<readonly NfsVersion[]> => {
  const fours = versions.filter((version) => version !== '3');
  const [has4, has3] = await all([
    fours.length > 0 && answersTo(nfs, 4, c),
    versions.includes('3') && answersTo(nfs, 3, c),
  ]);
  const found = has4 === true ? await all(fours.map((version) => takesMinor(nfs, version, c))) : [];
  return NFS_VERSIONS.filter((version) => (version === '3' ? has3 === true : found[fours.indexOf(version)] === true));
};

/** All of them are waited for, whichever fails. */
const all = async (answers: readonly (Promise<boolean> | boolean)[]): Promise<readonly boolean[]> => {
  await Promise.allSettled(answers);
  return Promise.all(answers);
};

const answersTo = (nfs: RpcConnection, version: number, c: Context): Promise<boolean> =>
  nfs.call(nfsNull(version), c).then(
    () => true,
    (error: unknown) => {
      if (error instanceof RpcError && error.trouble === 'version') return false;
      throw error;
    },
  );

/**
 * Does the server not refuse a minor version? Any operation will do: the version is looked at before all else, and that
 * this one is not in a session, as those of 4.1 and 4.2 must be, is said only behind that.
 */
const takesMinor = (nfs: RpcConnection, version: NfsVersion, c: Context): Promise<boolean> =>
  nfs.call(compound(Number(version.slice(2)), [putRoot]), c).then(
    ({ status }) => status !== NFS4.MINOR_VERS_MISMATCH,
    (error: unknown) => {
      if (error instanceof RpcError && error.trouble === 'unavailable') return true;
      throw error;
    },
  );
