import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceNumbers } from '../../shared/kernel/block-device.ts';
import { type MountEntry, readMountTable } from '../../shared/kernel/mount-table.ts';
import type { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { until } from '../../shared/looking.ts';
import { currentDisk } from '../block/generations.ts';
import type { Disk, DiskHost, DiskProvider, Snapshot } from '../block/provider.ts';
import type { Volume } from './backend.ts';
import type { OnRemove } from './block-options.ts';

/** What the parts of the back-end for disks work with. */
export interface BlockParts {
  readonly provider: DiskProvider;
  /** Errors: NOT_READY. */
  self(): DiskHost;
  /** The driver's locks, by the volume's name. */
  readonly locks: KeyedMutex;
  /** What `docker volume rm` does where a volume does not say. */
  readonly onRemove: OnRemove;
  /** Twice the time, in milliseconds, after which every host sees what one has written to the provider. */
  readonly settleMs: number;
  /** So long nobody may be kept from writing, in milliseconds: what has not begun by then is given up. */
  readonly frozenMs: number;
}

/** Of all disks of a volume the one that it is on. Errors: DISK_MISSING. */
export const currentOf = ({ name, handle }: Volume, disks: readonly Disk[]): Disk => {
  const found = currentDisk(disks);
  if (found === undefined) throw new PluginError('DISK_MISSING', { volume: name, disk: handle.disk ?? 'unknown' });
  return found;
};

/** Is that the file system on this device? btrfs shows numbers of its own, as it may be on several devices. */
export const isMountOf = ({ type, source, device }: MountEntry, of: string): boolean =>
  type === 'btrfs' ? source === of : device === deviceNumbers(of);

/** Where a disk that this host has is mounted; undefined: nowhere here. */
export const mountOf = async ({ provider, self }: BlockParts, disk: Disk, c: Context) => {
  if (disk.holder?.id !== self().id) return undefined;
  const device = await provider.device(disk, c);
  if (device === undefined) return undefined;
  const target = readMountTable().find((entry) => isMountOf(entry, device))?.target;
  return { device, target };
};

/** Waits until a disk is made. Errors: DISK_FAILED, STILL_WORKING. */
export const untilMade = (provider: DiskProvider, { id, volume }: Disk, c: Context): Promise<Disk> =>
  until<Disk>(`making disk ${id} of volume ${volume}`, c, async (says) => {
    const found = await provider.describe(id, c);
    says(`it is ${found?.state ?? 'not to be seen yet'}`);
    if (found?.state === 'failed') throw new PluginError('DISK_FAILED', { volume, disk: id, state: found.state });
    return found === undefined || found.state === 'creating' ? 'wait' : { done: found };
  });

/** Waits until a snapshot is whole. Errors: BACKEND_REFUSED when it has failed, STILL_WORKING with how far it is. */
export const untilReady = (provider: DiskProvider, { id, volume }: Snapshot, c: Context): Promise<Snapshot> =>
  until<Snapshot>(`taking snapshot ${id} of volume ${volume}`, c, async (says) => {
    const found = await provider.describeSnapshot(id, c);
    if (found?.state === 'ready') return { done: found };
    if (found?.state === 'failed') {
      const what = `a snapshot of volume ${volume}`;
      throw new PluginError('BACKEND_REFUSED', { provider: provider.name, what, reason: `${id} has failed` });
    }
    says(`it is ${found?.progress ?? 0} % done`);
    return 'wait';
  });

/** Asks with one token after the other as long as they are burned. Errors: those of `ask`. */
export const withTokens = async <T>(
  tokens: readonly string[],
  ask: (token: string) => Promise<T>,
  burned: () => Promise<T | undefined> = async () => undefined,
): Promise<T> => {
  for (const [n, token] of tokens.entries()) {
    try {
      return await ask(token);
    } catch (error) {
      if (!(error instanceof PluginError && error.code === 'TOKEN_BURNED') || n === tokens.length - 1) throw error;
    }
    const found = await burned();
    if (found !== undefined) return found;
  }
  throw new Error('no token was given');
};

/** The same tokens whoever asks for the same: the next one is for when the one before is burned. */
export const tokensOf = (name: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => (n === 0 ? name : `${name}-${n + 1}`));
