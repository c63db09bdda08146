import { type Context, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceSize } from '../../shared/kernel/block-device.ts';
import type { Disk, DiskHost, DiskProvider } from './provider.ts';

/** Getting a disk to this host and away from it: one step of the provider at a time, with a look in between. */

/** First and longest pause between two looks, in milliseconds. */
const FIRST_MS = 100;
const LONGEST_MS = 3_000;

/** An attached disk and its device here. */
export interface Attached {
  readonly disk: Disk;
  readonly device: string;
}

/** Looks until `step` has an answer; the pauses grow. Errors: those of `step`, and the context's when time is up. */
const until = async <T>(c: Context, step: () => Promise<T | undefined>): Promise<T> => {
  for (let pause = FIRST_MS; ; pause = Math.min(LONGEST_MS, pause * 1.6)) {
    const result = await step();
    if (result !== undefined) return result;
    await sleep(pause * (0.8 + 0.4 * Math.random()), c);
  }
};

const describe = async (provider: DiskProvider, disk: Disk, c: Context): Promise<Disk> => {
  const found = await provider.describe(disk.id, c);
  if (found === undefined) throw new PluginError('DISK_MISSING', { volume: disk.volume, disk: disk.id });
  return found;
};

/**
 * Attaches the disk to this host, waiting for whatever it is in the middle of. One that another host has is only taken
 * when the provider says that this host is stopped or gone. The device is taken for the disk's when its serial number
 * and its size are. Errors: VOLUME_BUSY, DISK_MISSING, DISK_FAILED, and those of the provider.
 */
export const attachDisk = (provider: DiskProvider, self: DiskHost, disk: Disk, c: Context): Promise<Attached> => {
  let askedAt = 0;
  return until(c, async () => {
    const found = await describe(provider, disk, c);
    const { state, holder, id, volume } = found;
    if (state === 'failed' || state === 'deleting') throw new PluginError('DISK_FAILED', { volume, disk: id, state });
    if (state === 'available') {
      // What was just asked for may not show yet.
      if (Date.now() - askedAt > LONGEST_MS) {
        await provider.attach(id, c);
        askedAt = Date.now();
      }
      return undefined;
    }
    if (holder !== undefined && holder.id !== self.id && state !== 'detaching') {
      await takeFrom(provider, found, holder, c);
      return undefined;
    }
    if (state !== 'attached') return undefined;
    const device = await provider.device(found, c);
    if (device === undefined) return undefined;
    const size = deviceSize(device);
    // A device that has just appeared has no size for a moment.
    if (size === 0) return undefined;
    if (size !== found.size) {
      const reason = `${device} has ${size} bytes instead of ${found.size}`;
      throw new PluginError('DISK_FAILED', { volume, disk: id, state: 'attached', reason });
    }
    return { disk: found, device };
  });
};

const takeFrom = async (
  provider: DiskProvider,
  { id, volume }: Disk,
  holder: { readonly id: string; readonly name: string },
  c: Context,
): Promise<void> => {
  const fate = await provider.fate(holder.id, c);
  if (fate === 'stopped' || fate === 'gone') {
    c.log.warn('a disk is taken from a host that is not running any more', {
      volume,
      disk: id,
      host: holder.name,
      fate,
    });
    await provider.detach(id, holder.id, c);
    return;
  }
  const reason = fate === 'alive' ? undefined : 'and whether that host still runs is not known';
  throw new PluginError('VOLUME_BUSY', { volume, holder: holder.name, reason });
};

/** Detaches the disk from this host and waits until it is; succeeds when it is not attached here. */
export const detachDisk = async (provider: DiskProvider, self: DiskHost, id: string, c: Context): Promise<void> => {
  let askedAt = 0;
  await until(c, async () => {
    const found = await provider.describe(id, c);
    if (found === undefined || found.holder?.id !== self.id || found.state === 'available') return true;
    if (found.state !== 'detaching' && Date.now() - askedAt > 10 * LONGEST_MS) {
      await provider.detach(id, self.id, c);
      askedAt = Date.now();
    }
    return undefined;
  });
};
