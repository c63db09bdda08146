import { PluginError } from '../../shared/errors.ts';
import { type Export, exportOf } from './mount-protocol.ts';
import { RpcError } from './rpc.ts';
import { UnresolvedName } from './server-name.ts';
import type { NfsVersion, Share } from './share.ts';

/** What a look at a server found out, in errors for users. */

/** An error of names or of RPC, as one of a share; others as they are. `port` is that of NFS. */
export const pluginErrorOf = (share: string, port: number, error: unknown): unknown => {
  if (error instanceof UnresolvedName) {
    return new PluginError('SHARE_UNRESOLVED', { share, reason: error.message }, { cause: error });
  }
  if (!(error instanceof RpcError)) return error;
  const context = { share, reason: error.message };
  switch (error.trouble) {
    case 'silent':
      return new PluginError('SHARE_SILENT', context, { cause: error });
    case 'auth':
      return new PluginError('SHARE_REFUSED', context, { cause: error });
    default:
      return new PluginError('SHARE_UNREACHABLE', { ...context, port: error.port ?? port }, { cause: error });
  }
};

/** None of the versions that are wanted are there. `offered` is empty when what it has is not known. */
export const unofferedVersion = (
  share: Share,
  wanted: readonly NfsVersion[],
  offered: readonly NfsVersion[],
): PluginError =>
  new PluginError('SHARE_VERSION', {
    share: share.id,
    offered: listOf(offered, 'of another version'),
    wanted: listOf(wanted, 'any'),
  });

export const refusedShare = (share: Share, reason: string): PluginError =>
  new PluginError('SHARE_REFUSED', { share: share.id, reason });

/** What the server told of a path that it does not give to this host. */
export interface Withheld {
  /** Names of the path that are there; absent: not told. */
  readonly depth?: number;
  readonly reason?: string;
  /** It said that it refuses; otherwise, that there is no such folder. */
  readonly refused: boolean;
}

/**
 * SHARE_MISSING or SHARE_REFUSED: servers say of exports that are not for this host that they are not there, and refuse
 * folders that are no exports. The list of exports, where it can be had, tells which is the case.
 */
export const withheldShare = (
  share: Share,
  { depth, reason, refused }: Withheld,
  exports: readonly Export[] | undefined,
  ownAddress: string,
): PluginError => {
  const around = exportOf(share.path, exports ?? []);
  const chosen = around?.hosts.filter((host) => host !== '*') ?? [];
  const hidden = around !== undefined && depth !== undefined && depth < namesOf(around.path).length;
  if (around !== undefined && (refused || (hidden && chosen.length > 0))) {
    const hosts = chosen.length === 0 ? 'all' : shortened(chosen);
    return refusedShare(share, `it exports ${around.path} to ${hosts}, and refuses ${ownAddress}`);
  }
  if (refused && exports === undefined) return refusedShare(share, reason ?? 'permission denied');
  const gone = depth === undefined ? undefined : namesOf(share.path)[depth];
  const above = `/${namesOf(share.path).slice(0, depth).join('/')}`;
  return new PluginError('SHARE_MISSING', {
    share: share.id,
    reason: reason ?? (gone === undefined ? undefined : `the server shows this host no "${gone}" in ${above}`),
    exports: exports === undefined ? undefined : shortened(exports.map(({ path }) => path)),
  });
};

const namesOf = (path: string): readonly string[] => path.split('/').filter((name) => name !== '');

const MOST_NAMED = 8;

const shortened = (names: readonly string[]): string => {
  if (names.length === 0) return 'nothing';
  const more = names.length - MOST_NAMED;
  return more > 0 ? `${names.slice(0, MOST_NAMED).join(', ')} and ${more} more` : names.join(', ');
};

const listOf = (versions: readonly NfsVersion[], none: string): string =>
  versions.length === 0 ? none : versions.join(', ').replace(/, ([^,]+)$/, ' and $1');
