import { open } from 'node:fs/promises';
import { blocking } from './blocking.ts';

/**
 * The head of a file system, as it is on the disk: enough to recognize what was made there, in less time than a program
 * takes to start. Whether a disk may be formatted is never decided by it: see `probe` and `isZero`.
 */

export interface Superblock {
  /** `ext4`, `xfs`, `btrfs`. */
  readonly type: string;
  readonly uuid: string;
  /**
   * A check of the file system would do nothing: it was unmounted in order, and the kernel has noted no error since the
   * last check. Only ever true of ext4; the others are checked by being mounted.
   */
  readonly clean: boolean;
  /** Bytes of its disk that it makes use of. */
  readonly size: number;
  /** There is a log that mounting it works off. Only told of btrfs. */
  readonly log?: true;
}

/** Everything below lies in these bytes. */
const HEAD = 0x10000 + 4096;

const uuidAt = (head: Buffer, at: number): string =>
  head.toString('hex', at, at + 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

/** Documentation/filesystems/ext4/super.rst, fs/ext4/ext4.h. */
const EXT4 = {
  at: 1024,
  blocks: 0x4,
  blockSize: 0x18,
  mounts: 0x34,
  mostMounts: 0x36,
  magic: 0x38,
  state: 0x3a,
  lastCheck: 0x40,
  checkInterval: 0x44,
  compatible: 0x5c,
  incompatible: 0x60,
  readOnlyCompatible: 0x64,
  uuid: 0x68,
  lastOrphan: 0xe8,
  blocksHigh: 0x150,
  errors: 0x194,
} as const;
const EXT4_MAGIC = 0xef53;
/** EXT4_VALID_FS without EXT4_ERROR_FS (2) and EXT4_ORPHAN_FS (4). */
const UNMOUNTED_IN_ORDER = 1;
const HAS_JOURNAL = 0x4;
const NEEDS_RECOVERY = 0x4;
/** Extents: an ext2 or ext3 has the same magic number, and is no ext4. */
const HAS_EXTENTS = 0x40;
const ORPHANS_PRESENT = 0x10000;
const HAS_64_BITS = 0x80;

const ext4Size = (head: Buffer): number => {
  const { at } = EXT4;
  const wide = (head.readUInt32LE(at + EXT4.incompatible) & HAS_64_BITS) !== 0;
  const high = wide ? head.readUInt32LE(at + EXT4.blocksHigh) : 0;
  return (high * 2 ** 32 + head.readUInt32LE(at + EXT4.blocks)) * 1024 * 2 ** head.readUInt32LE(at + EXT4.blockSize);
};

/**
 * The conditions under which `e2fsck -p` ends without looking at anything but this superblock (check_if_skip in its
 * unix.c), and two of what mounting repairs, orphans and a journal to replay. What e2fsck has looked at before that, sizes
 * and checksums of superblock and group descriptors, the kernel checks at each mount.
 */
const isClean = (head: Buffer, seconds: number): boolean => {
  const { at } = EXT4;
  const most = head.readInt16LE(at + EXT4.mostMounts);
  const interval = head.readUInt32LE(at + EXT4.checkInterval);
  const last = head.readUInt32LE(at + EXT4.lastCheck);
  return (
    head.readUInt16LE(at + EXT4.state) === UNMOUNTED_IN_ORDER &&
    (head.readUInt32LE(at + EXT4.incompatible) & NEEDS_RECOVERY) === 0 &&
    (head.readUInt32LE(at + EXT4.readOnlyCompatible) & ORPHANS_PRESENT) === 0 &&
    head.readUInt32LE(at + EXT4.lastOrphan) === 0 &&
    head.readUInt32LE(at + EXT4.errors) === 0 &&
    (most <= 0 || head.readUInt16LE(at + EXT4.mounts) < most) &&
    (interval === 0 || seconds < last + interval)
  );
};

/** Reads what the first 68 KiB say; undefined: none of the three, or there is more to be asked. */
export const parseSuperblock = (head: Buffer, seconds = Date.now() / 1000): Superblock | undefined => {
  if (head.length < HEAD) return undefined;
  const found: Superblock[] = [];
  if (head.readUInt16LE(EXT4.at + EXT4.magic) === EXT4_MAGIC) {
    const journal = (head.readUInt32LE(EXT4.at + EXT4.compatible) & HAS_JOURNAL) !== 0;
    const extents = (head.readUInt32LE(EXT4.at + EXT4.incompatible) & HAS_EXTENTS) !== 0;
    const uuid = uuidAt(head, EXT4.at + EXT4.uuid);
    if (journal && extents) found.push({ type: 'ext4', uuid, clean: isClean(head, seconds), size: ext4Size(head) });
  }
  if (head.toString('latin1', 0, 4) === 'XFSB') {
    const size = head.readUInt32BE(4) * Number(head.readBigUInt64BE(8));
    found.push({ type: 'xfs', uuid: uuidAt(head, 32), clean: false, size });
  }
  if (head.toString('latin1', 0x10040, 0x10048) === '_BHRfS_M') {
    const size = Number(head.readBigUInt64LE(0x10070));
    const log = head.readBigUInt64LE(0x10060) !== 0n;
    found.push({ type: 'btrfs', uuid: uuidAt(head, 0x10020), clean: false, size, ...(log && { log }) });
  }
  return found.length === 1 ? found[0] : undefined;
};

/** The same of a device. Errors: what reading says, DEADLINE of a disk that does not answer. */
export const readSuperblock = async (device: string): Promise<Superblock | undefined> => {
  const head = await blocking(device, `reading ${device}`, async () => {
    const file = await open(device, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  });
  return parseSuperblock(head);
};
