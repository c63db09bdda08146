import { join } from 'node:path';
import type { Context } from '../../shared/context.ts';
import type { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { AliyunDiskProvider } from '../block/aliyun-disk.ts';
import { EbsProvider } from '../block/ebs.ts';
import { LoopProvider } from '../block/loop.ts';
import type { DiskProvider } from '../block/provider.ts';
import { EfsProvider } from '../nfs/efs.ts';
import { ExportProvider } from '../nfs/export.ts';
import { LinuxShareMounts } from '../nfs/mounts.ts';
import { NasProvider } from '../nfs/nas.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';
import { openStore, withRegion } from '../object/registry.ts';
import type { Settings } from '../options.ts';
import type { Backend } from './backend.ts';
import { BlockBackend } from './block.ts';
import { BLOCK_OPTIONS } from './block-options.ts';
import { NfsBackend } from './nfs.ts';
import { NFS_OPTIONS } from './nfs-options.ts';
import { ObjectBackend } from './object.ts';
import { OBJECT_OPTIONS } from './object-options.ts';
import { LinuxEngineRunner } from './object-runner.ts';

export interface BackendParts {
  readonly settings: Settings;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** The driver's, by the volume's name. */
  readonly locks: KeyedMutex;
  /** Where a back-end may keep what this host alone needs. */
  readonly folder: string;
  /** Where shares are mounted; only this plugin looks there. */
  readonly shares: string;
  /** A back-end has found out that a volume that is mounted here does not belong to this host any more. */
  readonly onLost: (volume: string) => void;
  /** Ends with the plugin. */
  readonly life: Context;
}

const PROVIDERS = {
  loop: ({ settings, host }) =>
    new LoopProvider({ folder: settings.loopFolder, self: host, quota: settings.loopQuota }),
  ebs: ({ settings }) => new EbsProvider({ settings, cluster: settings.cluster }),
  'aliyun-disk': ({ settings }) => new AliyunDiskProvider({ settings, cluster: settings.cluster }),
} as const satisfies Record<Settings['provider'], (parts: BackendParts) => DiskProvider>;

const SHARE_PROVIDERS = {
  export: ({ settings }) => new ExportProvider(settings.nfsShare ?? []),
  efs: ({ settings }) => new EfsProvider({ settings, cluster: settings.cluster, shares: settings.nfsShare ?? [] }),
  nas: ({ settings }) => new NasProvider({ settings, cluster: settings.cluster, shares: settings.nfsShare ?? [] }),
} as const satisfies Record<Settings['nfsProvider'], (parts: BackendParts) => ShareProvider>;

/** The options of each type, for documents. */
export const OPTIONS = { block: BLOCK_OPTIONS, nfs: NFS_OPTIONS, object: OBJECT_OPTIONS } as const;

/** The kinds of volumes that this plugin offers with these settings. They are not started yet. */
export function openBackends(parts: BackendParts): readonly Backend[] {
  const { settings, locks, host, folder, shares, onLost, life } = parts;
  // Of folders and buckets none can be taken: what was to be kept is kept.
  const withoutSnapshots = settings.onRemove === 'delete' ? 'delete' : 'retain';
  return [
    new BlockBackend(PROVIDERS[settings.provider](parts), { locks, onRemove: settings.onRemove }),
    new NfsBackend({
      ...{ provider: SHARE_PROVIDERS[settings.nfsProvider](parts), host, folder: join(folder, 'nfs') },
      mounts: new LinuxShareMounts({ folder: shares, log: life.log, life }),
      ...{ onLost, life },
      onRemove: withoutSnapshots,
    }),
    new ObjectBackend({
      ...{ settings, host, onLost, life, folder: join(folder, 'object') },
      ...{
        stores: { open: openStore, complete: withRegion },
        runner: new LinuxEngineRunner(),
        onRemove: withoutSnapshots,
      },
    }),
  ];
}
