import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type Context, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';
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
  check?(device: string): Check;
  /** Grows to the size of its disk, while mounted. */
  grow(device: string, target: string): readonly [program: string, args: readonly string[]];
  /** Gives it another UUID while it is not mounted. */
  rename(device: string, uuid: string): readonly [program: string, args: readonly string[]];
  /** What another one with the same UUID needs to be mounted beside it. */
  readonly twin: readonly string[];
  /** Bytes. */
  readonly least: number;
  /** Bytes that it can grow to, at least. */
  readonly leastGrown: number;
}

const MIB = 2 ** 20;
const ANY_STATUS = Array.from({ length: 256 }, (_, code) => code);
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
    rename: (device, uuid) => ['tune2fs', ['-U', uuid, device]],
    twin: [],
    least: 8 * MIB,
    leastGrown: 8 * MIB,
  },
  xfs: {
    make: (device, uuid) => ['mkfs.xfs', ['-q', '-f', '-m', `uuid=${uuid}`, device]],
    options: [],
    grow: (_device, target) => ['xfs_growfs', [target]],
    rename: (device, uuid) => ['xfs_db', ['-x', '-c', `uuid ${uuid}`, device]],
    twin: ['nouuid'],
    least: 300 * MIB,
    leastGrown: 300 * MIB,
  },
  btrfs: {
    make: (device, uuid) => ['mkfs.btrfs', ['-q', '-f', '-U', uuid, device]],
    options: [],
    grow: (_device, target) => ['btrfs', ['filesystem', 'resize', 'max', target]],
    // Only the superblocks are written, not every block of the tree.
    rename: (device, uuid) => ['btrfstune', ['-f', '-M', uuid, device]],
    twin: [],
    least: 128 * MIB,
    // The kernel refuses less: fs/btrfs/ioctl.c, btrfs_ioctl_resize.
    leastGrown: 256 * MIB,
  },
};

export const isFilesystem = (text: string): text is Filesystem => (FILESYSTEMS as readonly string[]).includes(text);

/** The smallest disk that it fits on, in bytes. */
export const leastSize = (kind: Filesystem): number => kinds[kind].least;

/** The smallest disk that it can be made as large as, in bytes. */
export const leastGrownSize = (kind: Filesystem): number => kinds[kind].leastGrown;

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
  if (check !== undefined) await repair(kind, device, check, c);
};

type Check = readonly [program: string, args: readonly string[], fine: readonly number[]];

const repair = async (kind: Filesystem, device: string, [program, args, fine]: Check, c: Context): Promise<void> => {
  const { status, stdout, stderr } = await exec(program, args, c, { allow: ANY_STATUS });
  if (fine.includes(status)) return;
  // What it found stands last before it gave up; that it could not even begin is said on the other channel.
  const found = (status & NOT_REPAIRED) !== 0 ? lines(stdout).at(-1) : lines(stderr)[0];
  throw new PluginError('FILESYSTEM_DAMAGED', { device, kind, reason: found ?? `${program} ended with ${status}` });
};

/** One that was just checked in full: tune2fs wants that for some. Others check themselves when they are mounted. */
const fullCheck = async (kind: Filesystem, device: string, c: Context): Promise<void> => {
  if (kind === 'ext4') await repair(kind, device, ['e2fsck', ['-f', '-p', device], [0, 1, 2]], c);
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

/**
 * Is anything in it that its making has not put there? `target` is a free folder to mount it on. One that cannot be
 * mounted was never finished. Errors: DEADLINE.
 */
export const hasFiles = async (kind: Filesystem, device: string, target: string, c: Context): Promise<boolean> => {
  try {
    await mountFilesystem(kind, device, target, [], c);
  } catch (error) {
    if (error instanceof PluginError && ['FILESYSTEM_DAMAGED', 'EXEC_FAILED'].includes(error.code)) return false;
    throw error;
  }
  try {
    const names = await blocking(device, `reading ${target}`, () => readdir(target));
    return names.some((name) => name !== 'lost+found');
  } finally {
    while (!(await unmountFilesystem(target, c))) await sleep(100, c);
  }
};

/** Makes it as large as its disk while it is mounted. Errors: EXEC_FAILED. */
export const growFilesystem = async (kind: Filesystem, device: string, target: string, c: Context): Promise<void> => {
  const [program, args] = kinds[kind].grow(device, target);
  const { status, stderr } = await exec(program, args, c, { allow: ANY_STATUS });
  // resize2fs begins with its version.
  if (status !== 0) throw new PluginError('EXEC_FAILED', { command: program, status, reason: lines(stderr).at(-1) });
};

/** CAP_SYS_RESOURCE, without which the kernel lets nobody resize a mounted ext4. capabilities(7). */
const CAN_RESIZE = 1n << 24n;

const canGrowMounted = (kind: Filesystem): boolean => {
  if (kind !== 'ext4') return true;
  const [, rights = '0'] = /^CapEff:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return (BigInt(`0x${rights}`) & CAN_RESIZE) !== 0n;
};

/**
 * Makes it as large as its disk before it is mounted, where that cannot be done afterwards: after a full check, which
 * takes its time. Answers whether it was. Errors: FILESYSTEM_DAMAGED, EXEC_FAILED.
 */
export const growBeforeMount = async (kind: Filesystem, device: string, c: Context): Promise<boolean> => {
  if (canGrowMounted(kind)) return false;
  await fullCheck(kind, device, c);
  await growFilesystem(kind, device, '', c);
  return true;
};

/** Bytes of the disk that a file system makes use of; undefined: it cannot be told. */
export const filesystemSize = async (device: string, c: Context): Promise<number | undefined> =>
  (await superblockOf(device, c))?.size;

/**
 * Gives the copy of a file system a UUID of its own, so that the two can be mounted on one host. What its original had
 * not written out yet is written first: `target` is a free folder to mount it on. The same again changes nothing. Errors:
 * FILESYSTEM_DAMAGED, EXEC_FAILED.
 */
export const renameFilesystem = async (
  kind: Filesystem,
  device: string,
  uuid: string,
  target: string,
  c: Context,
): Promise<void> => {
  const before = await superblockOf(device, c);
  if (before?.uuid === uuid) return;
  await fullCheck(kind, device, c);
  // The log of a btrfs would be lost with its name. Beside the original a kernel before 6.7 does not mount it: then it is
  // refused, and can be mounted on another host.
  if (kinds[kind].twin.length > 0 || before?.log === true) {
    await mountFilesystem(kind, device, target, kinds[kind].twin, c);
    while (!(await unmountFilesystem(target, c))) await sleep(100, c);
  }
  const [program, args] = kinds[kind].rename(device, uuid);
  const { stdout, stderr } = await exec(program, args, c);
  if ((await superblockOf(device, c))?.uuid === uuid) return;
  const reason = lines(stderr)[0] ?? lines(stdout).at(-1);
  throw new PluginError('EXEC_FAILED', { command: program, status: 0, reason });
};

/** Keeps everybody from writing to it, with everything written out, until it is thawed. fsfreeze(8). Errors: EXEC_FAILED. */
export const freezeFilesystem = async (target: string, c: Context): Promise<void> => {
  await exec('fsfreeze', ['--freeze', target], c);
};

const FREEZE_FAILED = 1;
/** The kernel's EINVAL: it is not frozen. */
const NOT_FROZEN = /Invalid argument/;

/** Ends that; succeeds when it is not frozen. Answers whether it was. Errors: EXEC_FAILED. */
export const thawFilesystem = async (target: string, c: Context): Promise<boolean> => {
  const { status, stderr } = await exec('fsfreeze', ['--unfreeze', target], c, { allow: [0, FREEZE_FAILED] });
  if (status === 0) return true;
  if (NOT_FROZEN.test(stderr)) return false;
  throw new PluginError('EXEC_FAILED', { command: 'fsfreeze', status, reason: lines(stderr)[0] });
};
