import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';

/** Which device a disk is, by its serial number. Names and links may be another disk's by now; what sysfs shows is this one's. */

/** As much of a serial number as a virtio disk can tell. linux/virtio_blk.h, VIRTIO_BLK_ID_BYTES. */
const VIRTIO_LONGEST = 20;

/** Folders to look in, for tests. */
export interface DeviceFolders {
  /** `/sys/class/block`. */
  readonly sys?: string;
  /** `/dev`. */
  readonly dev?: string;
}

const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'ENXIO', 'EINVAL']);

/** Undefined for what is not there, or goes while it is read: disks come and go. */
const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (MISSING.has(codeOf(error) ?? '')) return undefined;
    throw error;
  }
};

const text = async (path: string): Promise<string | undefined> =>
  (await unlessMissing(readFile(path, 'utf8')))?.replaceAll('\0', '').trim();

interface Found {
  readonly name: string;
  /** Undefined: the kernel shows none. */
  readonly serial: string | undefined;
  readonly virtio: boolean;
}

/** A whole disk; undefined for partitions, and for the paths that a disk with several of them has beside itself. */
const diskOf = async (sys: string, name: string): Promise<Found | undefined> => {
  if (/^nvme\d+c\d+n\d+$/.test(name) || (await text(join(sys, name, 'partition'))) !== undefined) return undefined;
  const virtio = await text(join(sys, name, 'serial'));
  const serial = virtio ?? (await text(join(sys, name, 'device', 'serial')));
  return { name, serial: serial === '' ? undefined : serial, virtio: virtio !== undefined };
};

/**
 * The device node, such as `/dev/nvme1n1`, of the disk that has this serial number; undefined while there is none.
 * `links` are names below `/dev/disk/by-id` that udev gives it: they only count for a disk of which the kernel shows no
 * serial number. Errors: KERNEL (ENOTUNIQ) when several disks have it.
 */
export const deviceBySerial = async (
  serial: string,
  links: readonly string[] = [],
  { sys = '/sys/class/block', dev = '/dev' }: DeviceFolders = {},
): Promise<string | undefined> => {
  if (serial === '') return undefined;
  const names = (await unlessMissing(readdir(sys))) ?? [];
  const disks = (await Promise.all(names.map((name) => diskOf(sys, name)))).flatMap((one) => one ?? []);
  const fits = (one: Found): boolean => one.serial === (one.virtio ? serial.slice(0, VIRTIO_LONGEST) : serial);
  const [first, ...others] = disks.filter(fits).map(({ name }) => join(dev, name));
  if (others.length > 0) {
    const reason = `${[first, ...others].join(' and ')} have it`;
    throw new PluginError('KERNEL', {
      what: `to tell the disk with serial number ${serial}`,
      errno: 'ENOTUNIQ',
      reason,
    });
  }
  if (first !== undefined) return first;
  for (const link of links) {
    const target = await unlessMissing(readlink(join(dev, 'disk', 'by-id', link)));
    const named = disks.find(({ name }) => target !== undefined && name === basename(target));
    if (named !== undefined && named.serial === undefined) return join(dev, named.name);
  }
  return undefined;
};
