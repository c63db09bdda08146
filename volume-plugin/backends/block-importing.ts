import { randomUUID } from 'node:crypto';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { currentDisk } from '../block/generations.ts';
import type { AnyDisk, Disk } from '../block/provider.ts';
import type { ImportRequest } from './backend.ts';
import { insideOf } from './block-inside.ts';
import { BLOCK_OPTIONS } from './block-options.ts';
import type { BlockParts } from './block-parts.ts';

/**
 * Makes a disk that is there a volume: another driver's, one that was attached by hand, or one that was retained. It is
 * never formatted. Errors: IMPORT_REFUSED, VOLUME_EXISTS, and those of the provider.
 */
export const importDisk = async (parts: BlockParts, request: ImportRequest, c: Context): Promise<Disk> => {
  const { provider, self, onRemove } = parts;
  const { volume, inside } = request;
  const refuse = (reason: string): PluginError =>
    new PluginError('IMPORT_REFUSED', { disk: request.disk, volume, reason });
  if (inside !== undefined && !isFolder(inside)) throw refuse(`"${inside}" is not a folder of its file system`);
  const there = currentDisk(await provider.list(c, volume));
  if (there !== undefined) {
    if (there.tags.imported !== request.disk) {
      throw new PluginError('VOLUME_EXISTS', { volume, differences: `${there.id} is its disk` });
    }
    // A crash may have cut the adoption off.
    if (there.state !== 'creating' && there.state !== 'failed') return await withInside(parts, there, inside, c);
  }
  const found = only(await provider.search(request.disk, c), refuse);
  if (found.volume !== undefined && found.volume !== volume) throw refuse(`it is the disk of volume ${found.volume}`);
  if (found.holder !== undefined) throw refuse(`it is attached to ${found.holder}`);
  const { zone } = self();
  if (found.zone !== undefined && zone !== undefined && found.zone !== zone) {
    c.log.info('a disk of another zone is imported', { volume, disk: found.id, zone: found.zone });
  }
  const tags = {
    options: JSON.stringify({ size: BLOCK_OPTIONS.size.format(found.size) }),
    uuid: randomUUID(),
    imported: request.disk,
    'on-remove': onRemove,
    ...(inside !== undefined && { inside }),
  };
  return await provider.adopt(found.id, volume, tags, c);
};

/** Imported again with another folder, as who gave the wrong one is told to do, it gets that from its next mount on. */
const withInside = async (
  { provider }: BlockParts,
  disk: Disk,
  inside: string | undefined,
  c: Context,
): Promise<Disk> => {
  if (inside === undefined || inside === insideOf(disk.tags)) return disk;
  await provider.tag(disk.id, { inside }, c);
  return { ...disk, tags: { ...disk.tags, inside } };
};

/** Below the root of the file system, whatever links it has; empty: the root. */
const isFolder = (inside: string): boolean =>
  inside === '' || inside.split('/').every((part) => /^[^\p{Cc}]{1,255}$/u.test(part) && part !== '.' && part !== '..');

const only = (found: readonly AnyDisk[], refuse: (reason: string) => PluginError): AnyDisk => {
  const [first, second] = found;
  if (first === undefined) throw refuse('there is no disk with this id or name');
  if (second === undefined) return first;
  throw refuse(`there are several with this name: ${found.map(({ id }) => id).join(', ')}; give one by its id`);
};
