import type { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { AliyunDiskProvider } from '../block/aliyun-disk.ts';
import { EbsProvider } from '../block/ebs.ts';
import { LoopProvider } from '../block/loop.ts';
import type { DiskProvider } from '../block/provider.ts';
import type { Settings } from '../options.ts';
import type { Backend } from './backend.ts';
import { BlockBackend } from './block.ts';
import { BLOCK_OPTIONS } from './block-options.ts';

export interface BackendParts {
  readonly settings: Settings;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** The driver's, by the volume's name. */
  readonly locks: KeyedMutex;
}

const PROVIDERS = {
  loop: ({ settings, host }) =>
    new LoopProvider({ folder: settings.loopFolder, self: host, quota: settings.loopQuota }),
  ebs: ({ settings }) => new EbsProvider({ settings, cluster: settings.cluster }),
  'aliyun-disk': ({ settings }) => new AliyunDiskProvider({ settings, cluster: settings.cluster }),
} as const satisfies Record<Settings['provider'], (parts: BackendParts) => DiskProvider>;

/** The options of each type, for documents. */
export const OPTIONS = { block: BLOCK_OPTIONS } as const;

/** The kinds of volumes that this plugin offers with these settings. They are not started yet. */
export function openBackends(parts: BackendParts): readonly Backend[] {
  const { settings, locks } = parts;
  return [new BlockBackend(PROVIDERS[settings.provider](parts), { locks, onRemove: settings.onRemove })];
}
