import { constants, readdirSync, readFileSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Context } from '../context.ts';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';
import { blocking, patienceWithin } from './blocking.ts';
import { exec } from './exec.ts';
import { deviceControlLater, SystemCallError } from './syscalls.ts';

/**
 * Files as block devices. A file is found by its inode, so that it does not matter from where it is seen. The requests
 * are the kernel's own (linux/loop.h, loop(4)): losetup(8), which does the same, takes longer to start than to work. It is
 * asked where the kernel refuses (one before 5.8 does not know LOOP_CONFIGURE), since it can say why.
 */

const LOOP_CLR_FD = 0x4c01;
const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_DIRECT_IO = 16;

/** struct loop_config: descriptor, block size, and struct loop_info64 with device, inode, … flags, name. */
const CONFIG_SIZE = 304;
const INFO_AT = 8;
const INFO_SIZE = 232;
const FLAGS_AT = 52;
const NAME_AT = 56;
const NAME_SIZE = 64;

/** A device that was free may be somebody else's a moment later. */
const ATTEMPTS = 5;

const SYSTEM = '/sys/block';

const hasCode = (error: unknown, ...codes: readonly string[]): boolean => codes.includes(codeOf(error) ?? '');

/** The files behind the loop devices, as the kernel knows their paths: it asks no file system for them. */
const devices = (): readonly { readonly device: string; readonly file: string }[] =>
  readdirSync(SYSTEM).flatMap((name) => {
    if (!name.startsWith('loop')) return [];
    try {
      const file = readFileSync(join(SYSTEM, name, 'loop/backing_file'), 'utf8').trimEnd();
      return [{ device: join('/dev', name), file: file.replace(/ \(deleted\)$/, '') }];
    } catch (error) {
      // It has no file, or not any more.
      if (hasCode(error, 'ENOENT', 'ENODEV', 'ENXIO', 'EINVAL')) return [];
      throw error;
    }
  });

const withFile = async <T>(path: string, flags: number, use: (file: FileHandle) => Promise<T>): Promise<T> => {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
};

/** Asks the device for it; false: the kernel refuses. */
const isDone = (device: string, flags: number, request: number, argument: Buffer | null): Promise<boolean> =>
  withFile(device, flags, async ({ fd }) => {
    try {
      await deviceControlLater(fd, request, argument);
      return true;
    } catch (error) {
      if (error instanceof SystemCallError) return false;
      throw error;
    }
  });

/** Device number and inode of the file behind a device, as one text; undefined: it has none any more. */
const identity = async (device: string): Promise<string | undefined> => {
  try {
    return await withFile(device, constants.O_RDONLY, async ({ fd }) => {
      const info = Buffer.alloc(INFO_SIZE);
      await deviceControlLater(fd, LOOP_GET_STATUS64, info);
      return `${info.readBigUInt64LE(0)} ${info.readBigUInt64LE(8)}`;
    });
  } catch (error) {
    if (error instanceof SystemCallError || hasCode(error, 'ENXIO', 'ENODEV', 'ENOENT')) return undefined;
    throw error;
  }
};

/** The loop device of a file; undefined when it has none. Errors: EXEC_FAILED, when it has several; DEADLINE. */
export const findLoop = async (file: string, c: Context): Promise<string | undefined> => {
  // The kernel shows the path of another namespace, whose last part is the same; only those are opened.
  const likely = devices().filter((one) => basename(one.file) === basename(file));
  if (likely.length === 0) return undefined;
  const look = async (): Promise<string[]> => {
    const { dev, ino } = await stat(file, { bigint: true }).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return { dev: undefined, ino: undefined };
      throw error;
    });
    const all: string[] = [];
    for (const { device } of likely) if ((await identity(device)) === `${dev} ${ino}`) all.push(device);
    return all;
  };
  const found = await blocking(dirname(file), `looking for the device of ${file}`, look, patienceWithin(c));
  if (found.length > 1) {
    const reason = `${file} is behind several devices: ${found.join(', ')}`;
    throw new PluginError('EXEC_FAILED', { command: 'losetup', reason });
  }
  return found[0];
};

/** Makes the file a block device and answers its name; the one that it is already, if so. Errors: EXEC_FAILED, DEADLINE. */
export const attachLoop = async (file: string, c: Context): Promise<string> => {
  const known = await findLoop(file, c);
  if (known !== undefined) return known;
  const made = await blocking(dirname(file), `making ${file} a device`, () => configure(file), patienceWithin(c));
  if (made !== undefined) return made;
  // Past the page cache, the data would be in memory twice; where the file system cannot, the kernel goes through it.
  const { stdout } = await exec('losetup', ['--find', '--show', '--nooverlap', '--direct-io=on', file], c);
  return stdout.trim();
};

/** The same by the kernel's own request, all in one; undefined: it does not work like that. */
const configure = async (path: string): Promise<string | undefined> => {
  try {
    return await withFile(path, constants.O_RDWR, (file) =>
      withFile('/dev/loop-control', constants.O_RDWR, async (loops) => {
        for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
          const device = `/dev/loop${await deviceControlLater(loops.fd, LOOP_CTL_GET_FREE, null)}`;
          const config = Buffer.alloc(CONFIG_SIZE);
          config.writeUInt32LE(file.fd, 0);
          config.writeUInt32LE(LO_FLAGS_DIRECT_IO, INFO_AT + FLAGS_AT);
          config.write(path, INFO_AT + NAME_AT, NAME_SIZE - 1);
          if (await isDone(device, constants.O_RDWR, LOOP_CONFIGURE, config)) return device;
        }
        return undefined;
      }),
    );
  } catch (error) {
    // losetup says it in words.
    if (error instanceof Error && ('errno' in error || 'code' in error)) return undefined;
    throw error;
  }
};

/** Ends it; one that is mounted ends with its last mount. Succeeds when the file has no device. Errors: EXEC_FAILED, DEADLINE. */
export const detachLoop = async (file: string, c: Context): Promise<void> => {
  const device = await findLoop(file, c);
  if (device === undefined) return;
  const end = (): Promise<boolean> => isDone(device, constants.O_RDONLY, LOOP_CLR_FD, null);
  const ended = await blocking(dirname(file), `ending the device of ${file}`, end, patienceWithin(c));
  if (!ended && (await findLoop(file, c)) !== undefined) await exec('losetup', ['--detach', device], c);
};

/** Tells the kernel that the file behind the device has grown. Errors: EXEC_FAILED. */
export const growLoop = async (device: string, c: Context): Promise<void> => {
  await exec('losetup', ['--set-capacity', device], c);
};
