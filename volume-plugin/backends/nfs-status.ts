import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { folderOf } from '../nfs/records.ts';
import type { Volume } from './backend.ts';
import { type NfsOptions, readNfsOptions, wishOf } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';

type Details = Readonly<Record<string, string | number | boolean>>;

/** What `docker volume inspect` shows of a volume on a share. Nothing is asked of its server. */
export const shareStatus = (
  { provider, shares, onRemove, writers }: NfsParts,
  volume: Volume,
  target: string | undefined,
): Details => {
  const share = volume.handle['share'] ?? '';
  const options = optionsOf(volume);
  const holder = writers.holder(volume.name);
  const health = share === '' ? undefined : shares.health(share);
  return {
    provider: provider.name,
    ...(share !== '' && { share }),
    folder: `/${folderOf(volume)}`,
    ...(health !== undefined && { server: healthText(health) }),
    ...(target === undefined || options === undefined ? {} : agreedOn(shares, share, options, target)),
    access: options?.access ?? 'many',
    ...(options?.readonly === true && { readonly: true }),
    ...(holder !== undefined && { leaseHolder: holder.host, epoch: holder.epoch }),
    onRemove: volume.handle['onRemove'] ?? (options?.path === undefined ? onRemove : 'retain'),
  };
};

const optionsOf = (volume: Volume): NfsOptions | undefined => {
  try {
    return readNfsOptions(volume);
  } catch {
    // Made by a newer version: there is less to say of it.
    return undefined;
  }
};

const healthText = ({ answering, since }: { readonly answering: boolean; readonly since: number }): string =>
  answering ? 'answering' : `not answering since ${new Date(since).toISOString()}`;

/** The version and the options; after a restart the kernel knows. */
const agreedOn = (shares: NfsParts['shares'], share: string, options: NfsOptions, target: string): Details => {
  const mounted = shares.known(share, wishOf(options));
  if (mounted !== undefined) return { version: mounted.version, mountOptions: mounted.options };
  const given = mountAt(readMountTable(), target)?.superOptions ?? [];
  const version = given.find((one) => one.startsWith('vers='))?.slice('vers='.length);
  return version === undefined ? {} : { version, mountOptions: given.join(',') };
};
