import { writeSync } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from '../error-code.ts';

/** Node's code of an error, such as ENOSPC, or else its text. */
export const reasonOf = (error: unknown): string =>
  codeOf(error) ?? String(error instanceof Error ? error.message : error);

export const readIfThere = async (file: string): Promise<Buffer | undefined> => {
  try {
    return await readFile(file);
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return undefined;
    throw error;
  }
};

/** Makes a folder that only its owner may look into. */
export const makeFolder = async (folder: string): Promise<void> => {
  const made = await makeMissing(folder);
  if (made !== undefined) await syncFolder(dirname(made));
  else if (((await stat(folder)).mode & 0o077) !== 0) await chmod(folder, 0o700);
};

/** Answers the first folder that was missing. Not Node's `recursive`: that says ENOENT of a file system that is read-only. */
const makeMissing = async (folder: string): Promise<string | undefined> => {
  try {
    await mkdir(folder, { mode: 0o700 });
    return folder;
  } catch (error) {
    if (reasonOf(error) === 'EEXIST') return undefined;
    if (reasonOf(error) !== 'ENOENT') throw error;
  }
  const above = await makeMissing(dirname(folder));
  return (await makeMissing(folder)) === undefined ? above : (above ?? folder);
};

const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** Writes fewer bytes than asked (a full disk) are carried on until all are written or an error says why not. */
export const writeAll = async (file: FileHandle, bytes: Buffer): Promise<void> => {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
};

/** The same, and everybody waits for it. */
export const writeAllNow = (fd: number, bytes: Buffer): void => {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
};

/** Write beside it, fsync, rename, fsync the folder. `renamed` is called when the old content may be gone. */
export const replaceFile = async (path: string, bytes: Buffer, renamed: () => void): Promise<void> => {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await writeAll(file, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    // On a full disk it must not take what room there is.
    await rm(temporary, { force: true });
    throw error;
  }
  renamed();
  await rename(temporary, path);
  await syncFolder(dirname(path));
};
