/** A cache of built folders: one folder per content key, complete or absent, shared by processes that run at once. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '../shared/error-code.ts';

const HOUR_MS = 3_600_000;
/** A half-built folder this old belongs to a build that was killed. */
const ABANDONED_MS = HOUR_MS;
/** A built folder that nobody has used for so long is of another version. */
const UNUSED_MS = 14 * 24 * HOUR_MS;

/** Where built folders are kept: `DRAYAGE_CACHE`, else `drayage` in the user's cache folder. */
export function cacheFolder(): string {
  const { DRAYAGE_CACHE, XDG_CACHE_HOME } = process.env;
  return DRAYAGE_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'drayage');
}

/**
 * Answers the folder `<cache>/<name>-<key>`, built by `build` if it is not there. `build` writes into a folder of its
 * own, which takes that name when complete: of two builds at once the second uses the first one's result.
 */
export async function cached(name: string, key: string, build: (folder: string) => Promise<void>): Promise<string> {
  const root = cacheFolder();
  const done = join(root, `${name}-${key}`);
  if (await touch(done)) return done;
  const making = join(root, `.${name}-${key}-${randomUUID()}`);
  await mkdir(making, { recursive: true });
  try {
    await sweep(root, name);
    await build(making);
    await renameUnlessTaken(making, done);
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return done;
}

/** Marks a folder as used now; false when there is none. */
async function touch(folder: string): Promise<boolean> {
  try {
    const now = new Date();
    await utimes(folder, now, now);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function renameUnlessTaken(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
  }
}

async function sweep(root: string, name: string): Promise<void> {
  for (const entry of await readdir(root)) {
    const limit = entry.startsWith(`.${name}-`) ? ABANDONED_MS : entry.startsWith(`${name}-`) ? UNUSED_MS : undefined;
    if (limit === undefined) continue;
    const path = join(root, entry);
    const age = Date.now() - (await modified(path));
    if (age > limit) await rm(path, { recursive: true, force: true });
  }
}

/** Time of the last change in ms; that of a folder which another process has just removed or renamed is now. */
async function modified(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return Date.now();
    throw error;
  }
}
