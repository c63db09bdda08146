import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { orphanedFolders, ownedFolder } from '../../../rig/owned-folders.ts';

/** Folders for tests with real loop devices and mounts: all that is below goes with the test, or with the next one. */

/**
 * Goes on in a mount namespace of its own, which ends with the process. Mounts in the machine's would be copied into
 * every namespace that other tests make meanwhile, and their devices be in use until those end.
 */
export const inOwnMounts = (file: string): void => {
  const { DRAYAGE_OWN_MOUNTS, ...env } = process.env;
  if (DRAYAGE_OWN_MOUNTS !== undefined || process.execve === undefined) return;
  const command = ['unshare', '--mount', '--propagation', 'slave', process.execPath, ...process.execArgv, file];
  process.execve('/usr/bin/unshare', command, { ...env, DRAYAGE_OWN_MOUNTS: 'yes' });
};

const PREFIX = 'drt';
export const MIB = 2 ** 20;

export const context = (ms = 30_000) => newContext(silentLogger, ms);

/** The code of the error that a promise rejects with; `none` when it does not. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PluginError ? error.code : String(error)),
  );

/** The whole sentence of the error. */
export const messageOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

export const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Unmounts, detaches and removes everything below a folder. */
const clear = (folder: string): void => {
  // Looked up first: a file whose file system is unmounted from here has another path.
  const lines = run('losetup', '--noheadings', '--output', 'NAME,BACK-FILE').split('\n');
  const devices = lines.flatMap((line) => {
    const [, device = '', file = ''] = /^(\S+) +(.+?)(?: \(deleted\))?$/.exec(line) ?? [];
    return file.startsWith(`${folder}/`) ? [device] : [];
  });
  for (const { target } of [...readMountTable()].reverse()) {
    if (target === folder || target.startsWith(`${folder}/`)) run('umount', '-l', target);
  }
  for (const device of devices) run('losetup', '--detach', device);
  rmSync(folder, { recursive: true, force: true });
};

/** What processes that were killed have left. */
export const sweep = (base: string): void => {
  for (const folder of orphanedFolders(PREFIX, base)) clear(folder);
};

/** A folder of this process, gone when the test ends; `base`: the file system that it is on. */
export const scratch = (t: Test, base = tmpdir()): string => {
  sweep(base);
  const folder = ownedFolder(PREFIX, base);
  t.teardown(() => clear(folder));
  return folder;
};

/** A disk of zeros in a file, as a loop device. */
export const loopDisk = (folder: string, size = 16 * MIB, ...options: string[]) => {
  const file = join(folder, `disk-${Math.random().toString(36).slice(2)}.img`);
  writeFileSync(file, '');
  truncateSync(file, size);
  return { file, device: run('losetup', '--find', '--show', ...options, file).trim(), size };
};

/** Of every byte, as the file has them. */
export const checksum = (file: string): string => {
  const hash = createHash('sha256');
  const opened = openSync(file, 'r');
  const chunk = Buffer.alloc(4 * MIB);
  for (let length = 1; length > 0; ) {
    length = readSync(opened, chunk);
    hash.update(chunk.subarray(0, length));
  }
  closeSync(opened);
  return hash.digest('hex');
};
