import { type Context, now, sleep, throwIfDone } from '../../shared/context.ts';
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

/** Waited before a step is asked for again that does not show: what was just asked for may not show yet. */
const AGAIN_MS = 10_000;

/** `again`: something was asked for, and is looked at without a pause. */
type Look<T> = { readonly done: T } | 'again' | 'wait';

/**
 * Looks until it is done; the pauses grow. Errors: those of `look`, and the context's when time is up: STILL_WORKING with
 * the reason that the disk was last seen in instead of a plain DEADLINE.
 */
const until = async <T>(what: string, c: Context, look: (says: (reason: string) => void) => Promise<Look<T>>) => {
  const begun = now();
  let reason: string | undefined;
  try {
    for (let pause = FIRST_MS; ; ) {
      throwIfDone(c);
      const result = await look((news) => {
        reason = news;
      });
      if (typeof result === 'object') return result.done;
      if (result === 'again') continue;
      await sleep(pause * (0.8 + 0.4 * Math.random()), c);
      pause = Math.min(LONGEST_MS, pause * 1.6);
    }
  } catch (error) {
    if (!(error instanceof PluginError && error.code === 'DEADLINE') || reason === undefined) throw error;
    const seconds = Math.round((now() - begun) / 100) / 10;
    throw new PluginError('STILL_WORKING', { what, seconds, reason }, { cause: error });
  }
};

/** Does a step once, and again only after a while: answers true when it was done now. */
const onceInAWhile = (): ((step: () => Promise<void>) => Promise<boolean>) => {
  let askedAt = Number.NEGATIVE_INFINITY;
  return async (step) => {
    if (now() - askedAt < AGAIN_MS) return false;
    await step();
    askedAt = now();
    return true;
  };
};

const describe = async (provider: DiskProvider, disk: Disk, c: Context): Promise<Disk> => {
  const found = await provider.describe(disk.id, c);
  if (found === undefined) throw new PluginError('DISK_MISSING', { volume: disk.volume, disk: disk.id });
  return found;
};

/**
 * Attaches the disk to this host, waiting for whatever it is in the middle of. One that another host has is only taken
 * when the provider says that this host is stopped or gone. The device is taken for the disk's when its serial number
 * and its size are. Errors: VOLUME_BUSY, DISK_MISSING, DISK_FAILED, STILL_WORKING, and those of the provider.
 */
export const attachDisk = (provider: DiskProvider, self: DiskHost, disk: Disk, c: Context): Promise<Attached> => {
  const attaching = onceInAWhile();
  const taking = onceInAWhile();
  return until<Attached>(`attaching disk ${disk.id} of volume ${disk.volume}`, c, async (says) => {
    const found = await describe(provider, disk, c);
    const { state, holder, id, volume } = found;
    says(`it is ${state}`);
    if (state === 'failed' || state === 'deleting') throw new PluginError('DISK_FAILED', { volume, disk: id, state });
    if (state === 'available') return (await attaching(() => provider.attach(id, c))) ? 'again' : 'wait';
    if (holder !== undefined && holder.id !== self.id && state !== 'detaching') {
      return (await taking(() => takeFrom(provider, found, holder, c))) ? 'again' : 'wait';
    }
    if (state !== 'attached') return 'wait';
    says('its device has not appeared');
    const device = await provider.device(found, c);
    const size = device === undefined ? 0 : sizeOf(device);
    // A device that has just appeared has no size for a moment.
    if (device === undefined || size === 0) return 'wait';
    if (size !== found.size) {
      const reason = `${device} has ${size} bytes instead of ${found.size}`;
      throw new PluginError('DISK_FAILED', { volume, disk: id, state: 'attached', reason });
    }
    return { done: { disk: found, device } };
  });
};

/** Bytes; none of a device that has not appeared, or has gone again. */
const sizeOf = (device: string): number => {
  try {
    return deviceSize(device);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
};

const takeFrom = async (
  provider: DiskProvider,
  { id, volume }: Disk,
  holder: { readonly id: string; readonly name: string },
  c: Context,
): Promise<void> => {
  const fate = await provider.fate(holder.id, c);
  if (fate === 'stopped' || fate === 'gone') {
    const host = holder.name;
    c.log.warn('a disk is taken from a host that is not running any more', { volume, disk: id, host, fate });
    await provider.detach(id, holder.id, c);
    return;
  }
  const reason = fate === 'alive' ? undefined : 'and whether that host still runs is not known';
  throw new PluginError('VOLUME_BUSY', { volume, holder: holder.name, reason });
};

/**
 * Detaches the disk from this host and waits until it is; succeeds when it is not attached here. Errors: VOLUME_IN_USE,
 * STILL_WORKING, and those of the provider.
 */
export const detachDisk = async (provider: DiskProvider, self: DiskHost, id: string, c: Context): Promise<void> => {
  const detaching = onceInAWhile();
  await until<true>(`detaching disk ${id}`, c, async (says) => {
    const found = await provider.describe(id, c);
    if (found === undefined || found.holder?.id !== self.id || found.state === 'available') return { done: true };
    says(`it is ${found.state}`);
    if (found.state === 'detaching') return 'wait';
    return (await detaching(() => provider.detach(id, self.id, c))) ? 'again' : 'wait';
  });
};
