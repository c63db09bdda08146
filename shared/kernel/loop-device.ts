import type { Context } from '../context.ts';
import { PluginError } from '../errors.ts';
import { exec } from './exec.ts';

/** Files as block devices. A file is found by its inode, so that it does not matter from where it is seen. losetup(8). */

/** The loop device of a file; undefined when it has none. Errors: EXEC_FAILED, when it has several. */
export const findLoop = async (file: string, c: Context): Promise<string | undefined> => {
  const { stdout } = await exec('losetup', ['--noheadings', '--output', 'NAME', '--associated', file], c);
  const found = stdout.split('\n').flatMap((line) => (line.trim() === '' ? [] : line.trim()));
  if (found.length > 1) {
    const reason = `${file} is behind several devices: ${found.join(', ')}`;
    throw new PluginError('EXEC_FAILED', { command: 'losetup', reason });
  }
  return found[0];
};

/** Makes the file a block device and answers its name; the one that it is already, if so. Errors: EXEC_FAILED. */
export const attachLoop = async (file: string, c: Context): Promise<string> => {
  const known = await findLoop(file, c);
  if (known !== undefined) return known;
  // Past the page cache, the data would be in memory twice; where the file system cannot, the kernel goes through it.
  const { stdout } = await exec('losetup', ['--find', '--show', '--nooverlap', '--direct-io=on', file], c);
  return stdout.trim();
};

/** Ends it; one that is mounted ends with its last mount. Succeeds when the file has no device. Errors: EXEC_FAILED. */
export const detachLoop = async (file: string, c: Context): Promise<void> => {
  const device = await findLoop(file, c);
  if (device !== undefined) await exec('losetup', ['--detach', device], c);
};

/** Tells the kernel that the file behind the device has grown. Errors: EXEC_FAILED. */
export const growLoop = async (device: string, c: Context): Promise<void> => {
  await exec('losetup', ['--set-capacity', device], c);
};
