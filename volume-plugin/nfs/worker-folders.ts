import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { codeOf } from '../../shared/error-code.ts';

/**
 * Folders of a share, opened one by one on the way down: nobody who can write on the share can lead us elsewhere by a
 * symbolic link. A folder that is opened is also looked at anew by the kernel (close-to-open), so that what another host
 * has just made or taken away is seen.
 */

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Only passed through, of which the server is not asked again. linux/fcntl.h: O_PATH */
const PASSED = constants.O_DIRECTORY | constants.O_NOFOLLOW | 0o10000000;
/** Drayage's own folder, which nobody gives another name. */
const OWN = '.drayage';

/** The path by which the kernel finds an open folder itself, whatever its name is by now. */
export const pathOf = (folder: FileHandle): string => `/proc/self/fd/${folder.fd}`;

/** The path of `name` in an open folder. */
export const inside = (folder: FileHandle, name: string): string => `${pathOf(folder)}/${name}`;

/** The same for a name that is bytes, as others may have chosen them, one a character (`latin1`). */
export const insideByBytes = (folder: FileHandle, name: string): Buffer =>
  Buffer.concat([Buffer.from(`${pathOf(folder)}/`), Buffer.from(name, 'latin1')]);

export const openInside = (folder: FileHandle, name: string): Promise<FileHandle> => open(inside(folder, name), FOLDER);

export const openByBytes = (folder: FileHandle, name: string): Promise<FileHandle> =>
  open(insideByBytes(folder, name), FOLDER);

/** Its parts; refuses what leads out of the share. */
export const partsOf = (path: string): readonly string[] => {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || path.includes('\0')) {
    throw Object.assign(new Error(`not a path of a share: ${path}`), { code: 'EINVAL' });
  }
  return parts;
};

/** Opens a folder of the share. Errors: ENOENT, ENOTDIR for a file or a symbolic link anywhere on the way. */
export async function openFolder(root: string, parts: readonly string[]): Promise<FileHandle> {
  const passed = parts.length > 1 && parts[0] === OWN;
  if (!passed) return await openAll(root, parts, 0);
  try {
    return await openAll(root, parts, 2);
  } catch (error) {
    // Somebody has put our folder elsewhere, and perhaps another one there.
    if (codeOf(error) !== 'ENOENT' && !isStale(error)) throw error;
    return await openAll(root, parts, 0);
  }
}

/** errno(3): ESTALE, for which Node has no name. */
const isStale = (error: unknown): boolean => error instanceof Error && 'errno' in error && error.errno === -116;

/** `passed`: so many on the way, the root among them, are not looked at anew. */
async function openAll(root: string, parts: readonly string[], passed: number): Promise<FileHandle> {
  let folder = await open(root, passed > 0 ? PASSED : FOLDER);
  for (const [index, part] of parts.entries()) {
    try {
      const next = await open(inside(folder, part), index + 1 < passed ? PASSED : FOLDER);
      await folder.close();
      folder = next;
    } catch (error) {
      await folder.close();
      throw error;
    }
  }
  return folder;
}

/** Works in the folder that a path is in; `name` is its last part. */
export async function inParent<T>(
  root: string,
  path: string,
  work: (folder: FileHandle, name: string) => Promise<T>,
): Promise<T> {
  const parts = partsOf(path);
  const name = parts.at(-1);
  if (name === undefined) throw Object.assign(new Error('the root of a share is no file of it'), { code: 'EINVAL' });
  const folder = await openFolder(root, parts.slice(0, -1));
  try {
    return await work(folder, name);
  } finally {
    await folder.close();
  }
}

export async function inFolder<T>(root: string, path: string, work: (folder: FileHandle) => Promise<T>): Promise<T> {
  const folder = await openFolder(root, partsOf(path));
  try {
    return await work(folder);
  } finally {
    await folder.close();
  }
}

/** What the work answers, or `instead` when something that it needs is not there. */
export async function unlessMissing<T, U>(instead: U, work: () => Promise<T>): Promise<T | U> {
  try {
    return await work();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return instead;
    throw error;
  }
}
