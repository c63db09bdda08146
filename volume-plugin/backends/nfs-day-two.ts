import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { parseOptions } from '../../shared/options.ts';
import { folderOf, readRecord, replaceRecord, sound } from '../nfs/records.ts';
import type { DayTwo, Volume } from './backend.ts';
import { listedVolume } from './nfs-listing.ts';
import { NFS_OPTIONS } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';

/** What is done with volumes while they are used, for volumes that are folders: they can be limited, and nothing else. */
export const shareDayTwo = (parts: NfsParts): DayTwo => ({
  resize: (volume, size, c) => limitVolume(parts, volume, size, c),
  snapshot: async ({ name }) => {
    throw refused(parts, `to take a snapshot of ${name}`, 'a folder of a share has none; its server may have');
  },
  snapshots: async () => [],
  removeSnapshot: async (snapshot) => {
    throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot });
  },
  import: async ({ disk, volume }) => {
    const how = `docker volume create -o type=nfs -o path= of a folder makes it a volume`;
    throw refused(parts, `to import ${disk} as ${volume}`, how);
  },
  thaw: async () => false,
});

const refused = ({ provider }: NfsParts, what: string, reason: string): PluginError =>
  new PluginError('BACKEND_REFUSED', { provider: provider.name, what, reason });

const limitVolume = async (parts: NfsParts, volume: Volume, text: string, c: Context): Promise<Volume> => {
  const { name, options, handle } = volume;
  const { provider, shares } = parts;
  const what = `to limit how large ${name} grows`;
  if (provider.limit === undefined) throw refused(parts, what, 'nobody can be asked for that; limit it on the server');
  if (options['path'] !== undefined) throw refused(parts, what, 'the folder of path= is taken as it is');
  const { size } = parseOptions({ size: NFS_OPTIONS.size }, { size: text }, 'volume option');
  const mounted = await shares.look(handle['share'] ?? '', c);
  const found = await readRecord(mounted.files, name, c);
  if (found === undefined || size === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
  const record = sound(found);
  await provider.limit(mounted.share, `/${folderOf(record)}`, size, c);
  const changed = { ...record, options: { ...record.options, size: NFS_OPTIONS.size.format(size) } };
  await replaceRecord(mounted.files, changed, c);
  return listedVolume(mounted.share.id, changed);
};
