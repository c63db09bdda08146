import { randomUUID } from 'node:crypto';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { MountedShare } from '../nfs/mounted-share.ts';
import {
  createRecord,
  folderOf,
  OWN_FOLDER,
  readRecord,
  type ShareRecord,
  shareNameProblem,
  sound,
  VOLUMES,
} from '../nfs/records.ts';
import type { NewVolume, Volume } from './backend.ts';
import { listedVolume } from './nfs-listing.ts';
import { checkNfsOptions, differences, type NfsOptions, requestOf, traitsOf, wishOf } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';

/** Where a volume is to be, and how. */
export interface Place {
  readonly mounted: MountedShare;
  readonly options: NfsOptions;
}

/** Mounts the share that a new volume shall be on; nothing is made yet. Errors: VOLUME_NAME, VOLUME_EXISTS, OPTION_*, SHARE_*. */
export const findPlace = async (parts: NfsParts, spec: NewVolume, c: Context): Promise<Place> => {
  const { name } = spec;
  const reason = shareNameProblem(name);
  if (reason !== undefined) throw new PluginError('VOLUME_NAME', { volume: name, reason });
  const options = checkNfsOptions(spec);
  const { provider, shares } = parts;
  if (options.size !== undefined && provider.limit === undefined) throw noLimit(options.size, provider.name);
  const share = await shares.locate(options.share ?? (await provider.ensure(requestOf(options), c)), c);
  await refuseWhenElsewhere(parts, name, share.id, c);
  return { mounted: await shares.mount(share.id, wishOf(options), c), options };
};

/**
 * Makes a volume on its share: the folder first, then the record, by which it exists. Of hosts that make the same one at
 * once one writes the record, and the others join it. Errors: VOLUME_EXISTS, SHARE_*.
 */
export const makeShareVolume = async (
  parts: NfsParts,
  spec: NewVolume,
  { mounted, options }: Place,
  c: Context,
): Promise<Volume> => {
  const { id } = mounted.share;
  const existing = await readRecord(mounted.files, spec.name, c);
  if (existing !== undefined) return join(id, existing, spec);
  const record: ShareRecord = {
    ...{ name: spec.name, options: spec.options, created: new Date().toISOString() },
    ...{ making: spec.making ?? '', uuid: randomUUID() },
    ...(options.path === undefined && { onRemove: options['on-remove'] ?? parts.onRemove }),
  };
  await prepareFolder(parts, mounted, record, options, c);
  // Known at the next start, too, though only volumes may name the share.
  await parts.notes.change(id, { wish: wishOf(options) });
  return await writeRecord(parts, mounted, record, options, c);
};

const noLimit = (size: number, provider: string): PluginError =>
  new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'size', value: size },
    reason: `with NFS_PROVIDER=${provider} nobody can be asked to limit how large a folder grows`,
    allowed: 'nothing; limit it on the server',
  });

const refuseWhenElsewhere = async ({ listing }: NfsParts, name: string, share: string, c: Context): Promise<void> => {
  const other = await listing.find(name, c, share).catch((error: unknown) => {
    // A share that cannot be asked does not keep volumes from being made on others.
    c.log.warn('it is not known whether another share has a volume of that name', {
      ...{ volume: name, error: asPluginError(error) },
    });
    return undefined;
  });
  if (other === undefined) return;
  const text = `share=${other.handle['share'] ?? ''}, not ${share}`;
  throw new PluginError('VOLUME_EXISTS', { volume: name, differences: text });
};

const join = (share: string, existing: ShareRecord, spec: NewVolume): Volume => {
  const other = differences(sound(existing).options, spec);
  if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: spec.name, differences: other });
  return listedVolume(share, existing);
};

/** The folder of the volume, as it shall be before anybody can see the volume. */
const prepareFolder = async (
  { provider }: NfsParts,
  { files, share }: MountedShare,
  record: ShareRecord,
  options: NfsOptions,
  c: Context,
): Promise<void> => {
  const folder = folderOf(record);
  if (options.path !== undefined) {
    if (folder !== '' && !(await files.hasFolder(folder, c))) {
      throw new PluginError('SHARE_MISSING', { share: share.id, reason: `it has no folder ${options.path}` });
    }
    return;
  }
  await files.makeFolder(VOLUMES, OWN_FOLDER, c);
  await files.makeFolder(folder, traitsOf(options), c);
  if (options.size !== undefined) await provider.limit?.(share, `/${folder}`, options.size, c);
};

const writeRecord = async (
  { notes }: NfsParts,
  { files, share }: MountedShare,
  record: ShareRecord,
  options: NfsOptions,
  c: Context,
): Promise<Volume> => {
  try {
    await files.makeFolder(VOLUMES, OWN_FOLDER, c);
    if (await createRecord(files, record, c)) {
      await notes.put(share.id, record.name, record);
      return listedVolume(share.id, record);
    }
  } catch (error) {
    if (!options.readonly || options.path === undefined || !isReadOnly(error)) throw error;
    const { local = [] } = notes.get(share.id) ?? {};
    const before = local.find(({ name }) => name === record.name);
    if (before !== undefined) return join(share.id, before, record);
    await notes.change(share.id, { local: [...local, record] });
    return listedVolume(share.id, record);
  }
  const winner = await readRecord(files, record.name, c);
  // Made and removed again in this moment.
  if (winner === undefined) throw new PluginError('VOLUME_REMOVING', { volume: record.name });
  return join(share.id, winner, record);
};

/** Nobody can write there, or not this host. */
const isReadOnly = (error: unknown): boolean => ['SHARE_READONLY', 'SHARE_REFUSED'].includes(asPluginError(error).code);
