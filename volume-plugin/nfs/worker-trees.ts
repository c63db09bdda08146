import { randomBytes } from 'node:crypto';
import { type FileHandle, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { codeOf } from '../../shared/error-code.ts';
import { inParent, inside, insideByBytes, openByBytes, openInside, pathOf, unlessMissing } from './worker-folders.ts';

/**
 * Removing of folders with all that is in them, of any size and depth; symbolic links are removed, not followed. Names are
 * bytes here: what applications call their files need be no text.
 */

/** Each level has a descriptor open; what lies deeper is first moved to the top. */
const DEEPEST = 40;
/** Files that are removed at once: each waits for the server. */
const AT_ONCE = 16;
/** So often a list may have only names that are not there: others remove the same at the same time. */
const FRUITLESS = 20;

export interface Removal {
  /** Something was removed. */
  alive(): void;
  readonly signal: AbortSignal;
}

/** Succeeds when there is no such folder, and when others remove the same at the same time. */
export const removeTree = (root: string, path: string, removal: Removal): Promise<void> =>
  unlessMissing(undefined, () =>
    inParent(root, path, async (parent, name) => {
      const folder = await openInside(parent, name);
      try {
        await empty(folder, folder, 0, removal);
      } finally {
        await folder.close();
      }
      await unlessMissing(undefined, () => rmdir(inside(parent, name)));
    }),
  );

/** `top` is the folder that all this is about, `folder` one in it. */
async function empty(top: FileHandle, folder: FileHandle, depth: number, removal: Removal): Promise<void> {
  // Servers may leave names out of a list that is read while others are removed: until there is nothing left.
  for (let some = true, fruitless = 0; some; ) {
    some = false;
    let removed = false;
    let failure: { readonly error: unknown } | undefined;
    const batch: Promise<void>[] = [];
    // What cannot be removed keeps nothing else.
    const note = async (work: Promise<boolean>): Promise<void> => {
      try {
        if (await work) removed = true;
      } catch (error) {
        failure ??= { error };
      }
    };
    for await (const entry of await opendir(pathOf(folder), { bufferSize: 128, encoding: 'latin1' })) {
      removal.signal.throwIfAborted();
      some = true;
      if (entry.isDirectory()) await note(removeFolder(top, folder, entry.name, depth, removal));
      else batch.push(note(removeFile(top, folder, entry.name, depth, removal)));
      if (batch.length >= AT_ONCE) await Promise.all(batch.splice(0));
    }
    await Promise.all(batch);
    if (failure !== undefined) throw failure.error;
    fruitless = removed ? 0 : fruitless + 1;
    if (fruitless > FRUITLESS) throw Object.assign(new Error('names stay that nothing has'), { code: 'ENOTEMPTY' });
  }
}

/** Answers whether it was there. */
async function removeFile(
  top: FileHandle,
  folder: FileHandle,
  name: string,
  depth: number,
  removal: Removal,
): Promise<boolean> {
  try {
    return await unlessMissing(false, async () => {
      await unlink(insideByBytes(folder, name));
      removal.alive();
      return true;
    });
  } catch (error) {
    // The list did not tell that it is a folder.
    if (codeOf(error) !== 'EISDIR') throw error;
    return await removeFolder(top, folder, name, depth, removal);
  }
}

/** Answers whether it was there. */
async function removeFolder(
  top: FileHandle,
  folder: FileHandle,
  name: string,
  depth: number,
  removal: Removal,
): Promise<boolean> {
  return await unlessMissing(false, async () => {
    if (depth >= DEEPEST) {
      await rename(insideByBytes(folder, name), inside(top, `deep-${randomBytes(8).toString('hex')}`));
    } else {
      const child = await openByBytes(folder, name);
      try {
        await empty(top, child, depth + 1, removal);
      } finally {
        await child.close();
      }
      await rmdir(insideByBytes(folder, name));
    }
    removal.alive();
    return true;
  });
}
