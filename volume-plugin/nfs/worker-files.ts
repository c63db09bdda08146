import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, rmdir, stat, statfs, unlink } from 'node:fs/promises';
import { codeOf } from '../../shared/error-code.ts';
import type { FolderTraits, TextFile } from './share-files.ts';
import {
  inFolder,
  inParent,
  inside,
  openFolder,
  openInside,
  partsOf,
  pathOf,
  unlessMissing,
} from './worker-folders.ts';

/**
 * What a share's worker process does with files: see ShareFiles. Errors are those of the system calls. Every call here
 * may hang for as long as the server is silent.
 */

/** Permissions of a folder that is made and has no owner yet: a host that finds it finishes it. */
const UNFINISHED = 0o1700;
const PERMISSIONS = 0o7777;
/** Bytes; no file of ours comes near. */
const LONGEST_FILE = 128 << 10;
/** Bytes that are read at once, which a worker has room for: records of some 50,000 volumes. */
const MOST_READ = 24 << 20;
/** Files that are read at once. */
const AT_ONCE = 8;
/** Names of files that are being written. One that is older was left by a crash. */
const MAKING = '.~';
const LEFT_MS = 24 * 3_600_000;

/** See ShareFiles.makeFolder. */
export async function makeFolder(root: string, path: string, traits: FolderTraits): Promise<boolean> {
  const parts = partsOf(path);
  let folder = await openFolder(root, []);
  try {
    let isNew = false;
    for (const [index, name] of parts.entries()) {
      const isLast = index === parts.length - 1;
      const made = await makeOne(inside(folder, name), isLast ? UNFINISHED : 0o755);
      const next = await openInside(folder, name);
      try {
        isNew = isLast && (await finish(next, made, traits));
      } catch (error) {
        if (made) await unlessMissing(undefined, () => rmdir(inside(folder, name)));
        await next.close();
        throw error;
      }
      await folder.close();
      folder = next;
    }
    return isNew;
  } finally {
    await folder.close();
  }
}

async function makeOne(path: string, mode: number): Promise<boolean> {
  try {
    // Looked for first: a server that lets us read only says that to a folder that is there, too.
    if ((await unlessMissing(undefined, () => stat(path))) !== undefined) return false;
    await mkdir(path, mode);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Gives a new folder, or one that another host was about to make, its owner and permissions. */
async function finish(folder: FileHandle, made: boolean, { uid, gid, mode }: FolderTraits): Promise<boolean> {
  const found = await folder.stat();
  if (!made && (found.mode & PERMISSIONS) !== UNFINISHED) return false;
  // A server that makes everybody somebody else may have given it the right owner already.
  if (found.uid !== uid || found.gid !== gid) await folder.chown(uid, gid);
  await folder.chmod(mode);
  return true;
}

export async function hasFolder(root: string, path: string): Promise<boolean> {
  try {
    await inFolder(root, path, async () => undefined);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
}

/** Undefined: there is none. What is there by that name and no file is refused. */
export const readFile = (root: string, path: string): Promise<string | undefined> =>
  unlessMissing(undefined, () => inParent(root, path, readInside));

async function readInside(folder: FileHandle, name: string): Promise<string> {
  // Not to wait at what is no file.
  const file = await open(inside(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw refusal('EINVAL', `${name} is no file`);
    if (found.size > LONGEST_FILE) throw refusal('EFBIG', `${name} has ${found.size} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

const refusal = (code: string, text: string): Error => Object.assign(new Error(text), { code });

/** All that can be read: one that is gone by then, or is no file, is left out; one that is too large is empty. */
export const readFiles = (root: string, path: string, ending: string): Promise<readonly TextFile[]> =>
  unlessMissing([], () =>
    inFolder(root, path, async (folder) => {
      const names = await readdir(pathOf(folder));
      const wanted = names.filter((name) => name.endsWith(ending) && !name.startsWith(MAKING));
      let read = 0;
      const files = await eachOf(wanted, async (name) => {
        const content = await unlessMissing(undefined, () => readInside(folder, name)).catch((error: unknown) => {
          // It is there, and no record.
          if (codeOf(error) === 'EFBIG') return '';
          if (['ELOOP', 'EINVAL'].includes(codeOf(error) ?? '')) return undefined;
          throw error;
        });
        read += content?.length ?? 0;
        if (read > MOST_READ) throw refusal('EFBIG', `the files in ${path} have more than ${MOST_READ} bytes`);
        return content === undefined ? [] : [{ name, content }];
      });
      // By the server's clock, which may go wrong by days: it has set the time of the folder, too.
      const { mtimeMs } = await folder.stat();
      await eachOf(
        names.filter((name) => name.startsWith(MAKING)),
        (name) => unlessMissing(undefined, () => removeWhenOld(inside(folder, name), mtimeMs)),
      );
      return files.flat();
    }),
  );

async function removeWhenOld(path: string, nowMs: number): Promise<void> {
  if (nowMs - (await stat(path)).mtimeMs < LEFT_MS) return;
  try {
    await unlink(path);
  } catch (error) {
    // On a share that can be read only it stays.
    if (!['EROFS', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
  }
}

async function eachOf<T>(names: readonly string[], work: (name: string) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let at = 0; at < names.length; at += AT_ONCE) {
    results.push(...(await Promise.all(names.slice(at, at + AT_ONCE).map(work))));
  }
  return results;
}

/** Writes a file under a name of its own, durably, and gives it to `use`; takes the name away again. */
async function withWritten<T>(
  folder: FileHandle,
  name: string,
  content: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = inside(folder, `${MAKING}${name}.${randomBytes(8).toString('hex')}`);
  const file = await open(
    path,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o644,
  );
  try {
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    const result = await use(path);
    await folder.sync();
    return result;
  } finally {
    await unlessMissing(undefined, () => unlink(path));
  }
}

export const createFile = (root: string, path: string, content: string): Promise<boolean> =>
  inParent(root, path, (folder, name) =>
    withWritten(folder, name, content, async (written) => {
      try {
        await link(written, inside(folder, name));
        return true;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        // The answer to a first try may have been lost on its way: then the name is a second one of what we wrote.
        return (await stat(written)).nlink > 1;
      }
    }),
  );

export const replaceFile = (root: string, path: string, content: string): Promise<void> =>
  inParent(root, path, (folder, name) =>
    withWritten(folder, name, content, (written) => rename(written, inside(folder, name))),
  );

/** See ShareFiles.noteFile. */
export const noteFile = (root: string, path: string, content: string): Promise<void> =>
  inParent(root, path, async (folder, name) => {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants;
    const file = await open(inside(folder, name), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0o644);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  });

export const removeFile = (root: string, path: string): Promise<void> =>
  unlessMissing(undefined, () => inParent(root, path, (folder, name) => unlink(inside(folder, name))));

/** Moves a file or folder; false: there is none. The folder that it goes to must be there. */
export const move = (root: string, from: string, to: string): Promise<boolean> =>
  inParent(root, to, (newFolder, newName) =>
    unlessMissing(false, () =>
      inParent(root, from, async (folder, name) => {
        await rename(inside(folder, name), inside(newFolder, newName));
        return true;
      }),
    ),
  );

export const names = (root: string, path: string): Promise<readonly string[]> =>
  unlessMissing([], () =>
    inFolder(root, path, async (folder) =>
      (await readdir(pathOf(folder))).filter((name) => !name.startsWith(MAKING)).sort(),
    ),
  );

export const room = (root: string, path: string): Promise<{ readonly size: number; readonly free: number }> =>
  inFolder(root, path, async (folder) => {
    const { bsize, blocks, bavail } = await statfs(pathOf(folder));
    return { size: bsize * blocks, free: bsize * bavail };
  });
