import { constants, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Context } from '../context.ts';
import { codeOf } from '../error-code.ts';
import { blocking } from './blocking.ts';
import { exec } from './exec.ts';

/** What is on a disk, as far as its first and last sectors tell. */
export interface Contents {
  /** `ext4`, `xfs`, `LVM2_member`, …; undefined when nothing is known there. */
  readonly type?: string;
  readonly uuid?: string;
  /** `gpt`, `dos`: the disk is divided. */
  readonly partitions?: string;
  /** There are signs of several contents: it cannot be told what it is. */
  readonly several?: true;
}

/** The kernel counts sectors of this size whatever the disk's own is. */
const SECTOR = 512;

/** Where sysfs tells of a device such as `/dev/nvme1n1`. */
const attribute = (device: string, name: string): string =>
  readFileSync(join('/sys/class/block', basename(device), name), 'utf8').trim();

/** Bytes. Throws when there is no such device. */
export const deviceSize = (device: string): number => Number(attribute(device, 'size')) * SECTOR;

/** `259:4`, as the mount table writes it. Throws when there is no such device. */
export const deviceNumbers = (device: string): string => attribute(device, 'dev');

export const isReadOnly = (device: string): boolean => attribute(device, 'ro') === '1';

/** Is it a block device's node? */
export const isBlockDevice = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true;

/**
 * True when no namespace of this kernel has it mounted, and no other part of the kernel uses it (a swap, a RAID): an
 * exclusive open succeeds only then. open(2), O_EXCL. Errors: DEADLINE of a disk that does not answer.
 */
export const isUnused = (device: string): Promise<boolean> =>
  blocking(device, `opening ${device}`, async () => {
    try {
      const file = await open(device, constants.O_RDONLY | constants.O_EXCL);
      await file.close();
      return true;
    } catch (error) {
      if (codeOf(error) === 'EBUSY') return false;
      throw error;
    }
  });

const BLKID_NOTHING = 2;
const BLKID_AMBIVALENT = 8;

/**
 * Looks at the disk itself, not at a cache. "Nothing found" is also what the program answers about a disk that it could
 * not read: take it for blank only together with `isZero`. `only`: looks for this type and for nothing else, so that
 * what users have written into a file system cannot be taken for something. Errors: EXEC_FAILED.
 */
export const probe = async (device: string, c: Context, only?: string): Promise<Contents> => {
  const filter = only === undefined ? [] : ['-n', only];
  const { status, stdout } = await exec('blkid', ['-p', '-o', 'export', ...filter, device], c, {
    allow: [0, BLKID_NOTHING, BLKID_AMBIVALENT],
  });
  if (status === BLKID_NOTHING) return {};
  if (status === BLKID_AMBIVALENT) return { several: true };
  const found = new Map(
    stdout.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const [type, uuid, partitions] = [found.get('TYPE'), found.get('UUID'), found.get('PTTYPE')];
  return {
    ...(type !== undefined && { type }),
    ...(uuid !== undefined && { uuid }),
    ...(partitions !== undefined && { partitions }),
  };
};

const CMP_DIFFERS = 1;

/** Are these bytes all zero? A part that cannot be read is an error. Errors: EXEC_FAILED. */
export const isZero = async (device: string, from: number, length: number, c: Context): Promise<boolean> => {
  const { status } = await exec('cmp', ['-s', '-i', `${from}:0`, '-n', String(length), device, '/dev/zero'], c, {
    allow: [0, CMP_DIFFERS],
  });
  return status === 0;
};
