import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { readSuperblock } from '../../shared/kernel/superblock.ts';

/** File systems on disks: made, checked, mounted and grown by their own programs, each in a child with a deadline. */

export const FILESYSTEMS = ['ext4', 'xfs', 'btrfs'] as const;
export type Filesystem = (typeof FILESYSTEMS)[number];

interface Kind {
  /** Arguments that make it, with this UUID, on a disk that is known to be blank. */
  make(device: string, uuid: string): readonly [program: string, args: readonly string[]];
  /** Options of mount(8), beside those of every volume. */
  readonly options: readonly string[];
  /** Repairs what can be repaired without a question before it is mounted; absent where mounting does that. */
  check?(device: string): readonly [program: string, args: readonly string[], fine: readonly number[]];
  /** Grows to the size of its disk, while mounted. */
  grow(device: string, target: string): readonly [program: string, args: readonly string[]];
  /** Bytes. */
  readonly least: number;
}

const MIB = 2 ** 20;
/** What mount(8) and umount(8) end with when the kernel refused. */
const MOUNT_FAILED = 32;

const kinds: Readonly<Record<Filesystem, Kind>> = {
  ext4: {
    // Blocks are not kept back for root: the whole disk is the volume's.
    make: (device, uuid) => ['mkfs.ext4', ['-q', '-F', '-m', '0', '-U', uuid, device]],
    options: ['errors=remount-ro'],
    // 1: repaired; 2: repaired, and a mounted root would need a restart.
    check: (device) => ['e2fsck', ['-p', device], [0, 1, 2]],
    grow: (device) => ['resize2fs', [device]],
    least: 8 * MIB,
  },
  xfs: {
    make: (device, uuid) => ['mkfs.xfs', ['-q', '-f', '-m', `uuid=${uuid}`, device]],
    options: [],
    grow: (_device, target) => ['xfs_growfs', [target]],
    least: 300 * MIB,
  },
  btrfs: {
    make: (device, uuid) => ['mkfs.btrfs', ['-q', '-f', '-U', uuid, device]],
    options: [],
    grow: (_device, target) => ['btrfs', ['filesystem', 'resize', 'max', target]],
    least: 128 * MIB,
  },
};

export const isFilesystem = (text: string): text is Filesystem => (FILESYSTEMS as readonly string[]).includes(text);

/** The smallest disk that it fits on, in bytes. */
export const leastSize = (kind: Filesystem): number => kinds[kind].least;

/** Makes it. Whatever was on the disk is gone: see format.ts for who may ask. Errors: EXEC_FAILED. */
export const makeFilesystem = async (kind: Filesystem, device: string, uuid: string, c: Context): Promise<void> => {
  const [program, args] = kinds[kind].make(device, uuid);
  await exec(program, args, c);
};

/**
 * Sees to it that it is checked before it is mounted. Of one that was unmounted in order the program would read the
 * superblock and end, so that is read here. What the program had found even so, in the group descriptors, the kernel
 * finds when it mounts: then `repairFilesystem` is due. Answers whether the program was spared. Errors: FILESYSTEM_DAMAGED.
 */
export const checkFilesystem = async (kind: Filesystem, device: string, c: Context): Promise<boolean> => {
  if (kinds[kind].check === undefined) return false;
  const { type, clean } = (await superblockOf(device, c)) ?? {};
  if (type === kind && clean === true) return true;
  await repairFilesystem(kind, device, c);
  return false;
};

/** What cannot be read here is for a program, which is ended when it hangs, to say more about. */
const superblockOf = (device: string, c: Context) =>
  readSuperblock(device).catch((error: unknown) => {
    c.log.debug('the superblock cannot be read', { device, error });
    return undefined;
  });

/** Recognizes what was made on the disk with this UUID; undefined: ask `probe`. */
export const recognize = async (kind: string, uuids: readonly string[], device: string, c: Context) => {
  const found = await superblockOf(device, c);
  return found?.type === kind && uuids.includes(found.uuid) ? found : undefined;
};

/** Checks it, and repairs what needs no decision. Errors: FILESYSTEM_DAMAGED. */
export const repairFilesystem = async (kind: Filesystem, device: string, c: Context): Promise<void> => {
  const check = kinds[kind].check?.(device);
  if (check === undefined) return;
  const [program, args, fine] = check;
  const anyStatus = Array.from({ length: 256 }, (_, code) => code);
  const { status, stdout, stderr } = await exec(program, args, c, { allow: anyStatus });
  if (fine.includes(status)) return;
  // What it found stands last before it gave up; that it could not even begin is said on the other channel.
  const found = (status & NOT_REPAIRED) !== 0 ? lines(stdout).at(-1) : lines(stderr)[0];
  throw new PluginError('FILESYSTEM_DAMAGED', { device, kind, reason: found ?? `${program} ended with ${status}` });
};

/** A bit of fsck(8)'s exit code. */
const NOT_REPAIRED = 4;

const lines = (text: string): readonly string[] => text.split('\n').flatMap((line) => line.trim() || []);

/** How mount(8) tells that the kernel will not have what is there. */
const DAMAGED = /Structure needs cleaning|bad superblock|can't read superblock|Bad message/;

/**
 * Mounts it for writing, or not at all: without being told so, mount(8) mounts for reading what cannot be written.
 * Errors: FILESYSTEM_DAMAGED, EXEC_FAILED.
 */
export const mountFilesystem = async (
  kind: Filesystem,
  device: string,
  target: string,
  options: readonly string[],
  c: Context,
): Promise<void> => {
  const all = ['nodev', 'noatime', ...kinds[kind].options, ...options];
  const { status, stderr } = await exec('mount', ['-w', '-t', kind, '-o', all.join(','), device, target], c, {
    allow: [0, MOUNT_FAILED],
  });
  if (status === 0) return;
  const reason = lines(stderr)[0];
  if (DAMAGED.test(stderr)) throw new PluginError('FILESYSTEM_DAMAGED', { device, kind, reason });
  throw new PluginError('EXEC_FAILED', { command: 'mount', status, reason });
};

/** Writes everything out and unmounts; false: something is open in it. Errors: EXEC_FAILED. */
export const unmountFilesystem = async (target: string, c: Context): Promise<boolean> => {
  const { status, stderr } = await exec('umount', [target], c, { allow: [0, MOUNT_FAILED] });
  if (status === 0) return true;
  if (stderr.includes('target is busy')) return false;
  throw new PluginError('EXEC_FAILED', { command: 'umount', status, reason: lines(stderr)[0] });
};

/** Makes it as large as its disk. Errors: EXEC_FAILED. */
export const growFilesystem = async (kind: Filesystem, device: string, target: string, c: Context): Promise<void> => {
  const [program, args] = kinds[kind].grow(device, target);
  await exec(program, args, c);
};
