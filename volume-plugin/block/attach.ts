import { type Context, now } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceSize } from '../../shared/kernel/block-device.ts';
import { type Look, onceInAWhile, until } from '../../shared/looking.ts';
import { busyDisk } from './hold-tag.ts';
import type { Disk, DiskHost, DiskProvider } from './provider.ts';

/** Getting a disk to this host and away from it: one step of the provider at a time, with a look in between. */

/** An attached disk and its device here. */
export interface Attached {
  readonly disk: Disk;
  readonly device: string;
}

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
export const attachDisk = async (provider: DiskProvider, self: DiskHost, disk: Disk, c: Context): Promise<Attached> =>
  await holdDisk(provider, self, disk, c, async (found, says) => {
    says('its device has not appeared');
    const device = await provider.device(found, c);
    const size = device === undefined ? 0 : sizeOf(device);
    // A device that has just appeared has no size for a moment.
    if (device === undefined || size === 0) return 'wait';
    // One that grows may show it here first.
    if (size < found.size) {
      const reason = `${device} has ${size} bytes instead of ${found.size}`;
      throw new PluginError('DISK_FAILED', { volume: found.volume, disk: found.id, state: 'attached', reason });
    }
    return { done: { disk: found, device } };
  });

/**
 * Gets the disk to this host, and goes on with `held` whenever a look shows that it is here, until that is done. Errors:
 * as of `attachDisk`, and those of `held`.
 */
export const holdDisk = async <T>(
  provider: DiskProvider,
  self: DiskHost,
  disk: Disk,
  c: Context,
  held: (found: Disk, says: (reason: string) => void) => Promise<Look<T>>,
): Promise<T> => {
  const steps = stepsTo(provider, self);
  return await until<T>(`attaching disk ${disk.id} of volume ${disk.volume}`, c, async (says) => {
    const found = await describe(provider, disk, c);
    says(`it is ${found.state}`);
    const step = await steps(found, c);
    return step === 'held' ? await held(found, says) : step;
  });
};

/**
 * Disks whose detaching this host has asked for and not seen the end of: they may be shown as attached for a moment yet,
 * or the request may have been lost.
 */
const unfinished = new WeakMap<DiskProvider, Set<string>>();
const detachesOf = (provider: DiskProvider): Set<string> => {
  const known = unfinished.get(provider) ?? new Set();
  unfinished.set(provider, known);
  return known;
};

/** Does what has to be done next to attach a disk that was found so; `held`: it is attached to this host. */
const stepsTo = (provider: DiskProvider, self: DiskHost) => {
  const attaching = onceInAWhile();
  const taking = onceInAWhile();
  const detaching = onceInAWhile();
  const detaches = detachesOf(provider);
  return async (found: Disk, c: Context): Promise<'again' | 'wait' | 'held'> => {
    const { state, holder, id, volume } = found;
    if (state === 'failed' || state === 'deleting') throw new PluginError('DISK_FAILED', { volume, disk: id, state });
    if (state === 'available') {
      detaches.delete(id);
      return (await attaching(() => provider.attach(id, c))) ? 'again' : 'wait';
    }
    if (holder !== undefined && holder.id !== self.id && state !== 'detaching') {
      return (await taking(() => takeFrom(provider, found, holder, c))) ? 'again' : 'wait';
    }
    if (state !== 'attached') return 'wait';
    // Whoever mounted it now would have it taken away in use.
    if (detaches.has(id)) return (await detaching(() => provider.detach(id, self.id, c))) ? 'again' : 'wait';
    return 'held';
  };
};

/**
 * Sees to it that nobody has the disk, as this host cannot have it itself: it is taken from a host that is stopped or
 * gone. Who has it otherwise gets `graceMs` to let it go. Errors: as of `attachDisk`.
 */
export const freeDisk = async (provider: DiskProvider, disk: Disk, graceMs: number, c: Context): Promise<Disk> => {
  const taking = onceInAWhile();
  const begun = now();
  return await until<Disk>(`detaching disk ${disk.id} of volume ${disk.volume}`, c, async (says) => {
    const found = await describe(provider, disk, c);
    const { state, holder, id, volume } = found;
    says(`it is ${state}`);
    if (state === 'failed' || state === 'deleting') throw new PluginError('DISK_FAILED', { volume, disk: id, state });
    if (state === 'available') return { done: found };
    if (holder === undefined || state === 'detaching') return 'wait';
    const take = (): Promise<void> => takeFrom(provider, found, holder, c);
    try {
      return (await taking(take)) ? 'again' : 'wait';
    } catch (error) {
      const busy = error instanceof PluginError && error.code === 'VOLUME_BUSY';
      if (busy && now() - begun < graceMs) return 'wait';
      throw error;
    }
  });
};

/** Bytes; none of a device that has not appeared, or has gone again. */
const sizeOf = (device: string): number => {
  try {
    return deviceSize(device);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
};

const takeFrom = async (
  provider: DiskProvider,
  disk: Disk,
  holder: { readonly id: string; readonly name: string },
  c: Context,
): Promise<void> => {
  const { id, volume } = disk;
  const fate = await provider.fate(holder.id, c);
  if (fate === 'stopped' || fate === 'gone') {
    const host = holder.name;
    c.log.warn('a disk is taken from a host that is not running any more', { volume, disk: id, host, fate });
    await provider.detach(id, holder.id, c);
    return;
  }
  const reason = fate === 'alive' ? undefined : 'and whether that host still runs is not known';
  throw busyDisk(disk, reason);
};

/**
 * Detaches the disk from this host and waits until it is; succeeds when it is not attached here. Errors: VOLUME_IN_USE,
 * STILL_WORKING, and those of the provider.
 */
export const detachDisk = async (provider: DiskProvider, self: DiskHost, id: string, c: Context): Promise<void> => {
  const detaching = onceInAWhile();
  await until<true>(`detaching disk ${id}`, c, async (says) => {
    const found = await provider.describe(id, c);
    if (found === undefined || found.holder?.id !== self.id || found.state === 'available') {
      detachesOf(provider).delete(id);
      return { done: true };
    }
    says(`it is ${found.state}`);
    const wasAsked = detachesOf(provider).has(id);
    detachesOf(provider).add(id);
    if (found.state === 'detaching') return 'wait';
    try {
      return (await detaching(() => provider.detach(id, self.id, c))) ? 'again' : 'wait';
    } catch (error) {
      // In use: nothing was asked for, and whoever wants it may have it back.
      if (!wasAsked && error instanceof PluginError && error.code === 'VOLUME_IN_USE') detachesOf(provider).delete(id);
      throw error;
    }
  });
};
