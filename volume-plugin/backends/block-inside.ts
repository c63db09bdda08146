import { chmod, chown, lstat, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';
import type { DiskTags } from '../block/provider.ts';
import type { BlockOptions } from './block-options.ts';

/** Containers get this folder of the file system: ext4's own lost+found would spoil Docker's copy of an image's files. */
const INSIDE = 'data';

/** The folder of a disk's file system that containers get; empty: all of it. */
export const insideOf = ({ inside = INSIDE }: DiskTags): string => inside;

/**
 * Sees to it that the folder is there: made once, and whole when it appears; afterwards its owner and mode are the
 * containers' own business. On a disk that was imported it must be there. Errors: VOLUME_NOT_MOUNTED, and DEADLINE when the
 * disk does not answer.
 */
export const prepareInside = (volume: string, root: string, tags: DiskTags, options: BlockOptions): Promise<void> =>
  blocking(root, `preparing the folder of ${volume}`, () => prepare(volume, root, tags, options));

const prepare = async (
  volume: string,
  root: string,
  tags: DiskTags,
  { uid, gid, mode }: BlockOptions,
): Promise<void> => {
  const inside = insideOf(tags);
  if (inside === '' || (await isThere(volume, root, inside))) return;
  if (tags.imported !== undefined) {
    const reason = `its disk was imported, and has no folder ${inside}; import it with the right --inside`;
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume, reason });
  }
  const unfinished = join(root, `.${INSIDE}`);
  await mkdir(unfinished, { recursive: true });
  await chown(unfinished, uid, gid);
  await chmod(unfinished, Number.parseInt(mode, 8));
  await rename(unfinished, join(root, inside));
};

/** Is the folder there? Errors: VOLUME_NOT_MOUNTED when something else has its name. */
const isThere = async (volume: string, root: string, inside: string): Promise<boolean> => {
  let folder = root;
  for (const part of inside.split('/')) {
    folder = join(folder, part);
    const found = await lstat(folder).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (found === undefined) return false;
    // On a disk from elsewhere it could be a link that leads out of the volume.
    if (!found.isDirectory()) {
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume, reason: `its ${inside} is not a folder` });
    }
  }
  return true;
};
