import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { parseOptions } from '../../shared/options.ts';
import { folderOf, readRecord, replaceRecord, sound } from '../nfs/records.ts';
import type { DayTwo, Volume } from './backend.ts';
import { listedVolume } from './listing.ts';
import { NFS_OPTIONS } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';

/** What is done with volumes while they are used, for volumes that are folders: they can be limited, and nothing else. */
export const shareDayTwo = (parts: NfsParts): DayTwo => ({
  resize: (volume, size, c) => limitVolume(parts, volume, size, c),
  snapshot: async ({ name }) => {
    throw unable('A snapshot', name, 'Take one of the share on its server');
  },
  snapshots: async () => [],
  removeSnapshot: async (snapshot) => {
    throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot });
  },
  import: async ({ disk, volume }) => {
    throw unable(
      `To import ${disk}`,
      volume,
      'A folder of a share becomes a volume with docker volume create -o type=nfs -o path=',
    );
  },
  thaw: async () => false,
});

const unable = (what: string, volume: string, instead: string, reason?: string): PluginError =>
  new PluginError('VOLUME_UNABLE', { what, volume, type: 'nfs', instead, reason });

const limitVolume = async (parts: NfsParts, volume: Volume, text: string, c: Context): Promise<Volume> => {
  const { name, options, handle } = volume;
  const { provider, shares } = parts;
  const what = 'A limit of its size';
  const instead = 'Limit its folder on the server';
  if (provider.limit === undefined) throw unable(what, name, instead, `with NFS_PROVIDER=${provider.name}`);
  if (options['path'] !== undefined) throw unable(what, name, instead, 'and the folder of path= is taken as it is');
  const { size } = parseOptions({ size: NFS_OPTIONS.size }, { size: text }, 'volume option');
  const mounted = await shares.look(handle['share'] ?? '', c);
  const found = await readRecord(mounted.files, name, c);
  if (found === undefined || size === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
  const record = sound(found);
  await provider.limit(mounted.share, `/${folderOf(record)}`, size, c);
  const changed = { ...record, options: { ...record.options, size: NFS_OPTIONS.size.format(size) } };
  await replaceRecord(mounted.files, changed, c);
  return listedVolume('share', mounted.share.id, changed);
};
