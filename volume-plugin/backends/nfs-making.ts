import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { MountedShare } from '../nfs/mounted-share.ts';
import {
  createRecord,
  folderOf,
  makingOf,
  OWN_FOLDER,
  placeFolder,
  readRecord,
  type ShareRecord,
  shareNameProblem,
  sound,
  TRASH,
} from '../nfs/records.ts';
import { removeRecord, removingOf, takeFolder } from '../nfs/removals.ts';
import { refuseWhenUsed } from '../nfs/users.ts';
import type { NewVolume, Volume } from './backend.ts';
import { listedVolume } from './listing.ts';
import { checkNfsOptions, differences, type NfsOptions, requestOf, traitsOf, wishOf } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';
import { uuidOf } from './volume-uuid.ts';

/** Where a volume is to be, and how. */
export interface Place {
  readonly mounted: MountedShare;
  readonly options: NfsOptions;
}

/** Mounts the share that a new volume shall be on; nothing is made yet. Errors: VOLUME_NAME, OPTION_*, SHARE_*. */
export const findPlace = async (parts: NfsParts, spec: NewVolume, c: Context): Promise<Place> => {
  const { name } = spec;
  const reason = shareNameProblem(name);
  if (reason !== undefined) throw new PluginError('VOLUME_NAME', { volume: name, reason });
  const options = checkNfsOptions(spec);
  const { provider, shares } = parts;
  if (options.size !== undefined && provider.limit === undefined)
    throw noLimit(spec.options['size'] ?? '', provider.name);
  const share = await shares.locate(options.share ?? (await provider.ensure(requestOf(options), c)), c);
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
  const { files, share } = mounted;
  const found = await readRecord(files, spec.name, c);
  if (found === undefined) await parts.listing.refuseElsewhere(spec.name, share.id, c);
  const made =
    found === undefined
      ? await makeRecord(parts, spec, mounted, options, c)
      : await join(parts, mounted, checkSame(found, spec), options);
  if (options.path !== undefined) return listedVolume('share', share.id, made);
  const isOwn = made.uuid === uuidOf(parts.host.id, spec);
  const giveUp = (folder: string) => async (error: unknown) => {
    if (isOwn) await unmake(parts, mounted, made, folder, asPluginError(error), c);
    throw error;
  };
  // Also of one that another host has made, and may have died over.
  await placeFolder(files, made, c).catch(giveUp(makingOf(made)));
  const folder = folderOf(made);
  if (options.size !== undefined) {
    await parts.provider.limit?.(share, `/${folder}`, options.size, c).catch(giveUp(folder));
  }
  return listedVolume('share', share.id, made);
};

/** One that another host has made. Its share is looked at from now on, though only volumes may name it. */
const join = async (
  { notes }: NfsParts,
  { share }: MountedShare,
  record: ShareRecord,
  options: NfsOptions,
): Promise<ShareRecord> => {
  if (notes.get(share.id) === undefined) await notes.change(share.id, { wish: wishOf(options) });
  await notes.put(share.id, record.name, record);
  return record;
};

/** The record of a new volume, or of the one that another host has made in this moment. */
const makeRecord = async (
  parts: NfsParts,
  spec: NewVolume,
  mounted: MountedShare,
  options: NfsOptions,
  c: Context,
): Promise<ShareRecord> => {
  const { files, share } = mounted;
  const record: ShareRecord = {
    ...{ name: spec.name, options: spec.options, created: new Date().toISOString() },
    ...{ making: spec.making ?? '', uuid: uuidOf(parts.host.id, spec) },
    ...(options.path === undefined && { onRemove: options['on-remove'] ?? parts.onRemove }),
  };
  await prepareFolder(mounted, record, options, c);
  // Known at the next start, too, though only volumes may name the share.
  if (parts.notes.get(share.id) === undefined) await parts.notes.change(share.id, { wish: wishOf(options) });
  const written = await writeRecord(parts, mounted, record, options, c);
  if (written !== undefined) return written;
  const winner = await readRecord(files, spec.name, c);
  // Ours, when an earlier try was answered too late.
  if (options.path === undefined && winner?.uuid !== record.uuid) await files.removeTree(makingOf(record), c);
  // Made and removed again in this moment.
  if (winner === undefined) throw new PluginError('VOLUME_REMOVING', { volume: spec.name });
  return await join(parts, mounted, checkSame(winner, spec), options);
};

const noLimit = (size: string, provider: string): PluginError =>
  new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'size', value: size },
    reason: `with NFS_PROVIDER=${provider} nobody can be asked to limit how large a folder grows`,
    allowed: 'nothing; limit it on the server',
  });

const checkSame = (existing: ShareRecord, spec: NewVolume): ShareRecord => {
  const other = differences(sound(existing).options, spec);
  if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: spec.name, differences: other });
  return existing;
};

/** The folder of the volume, as it shall be before anybody can see the volume. */
const prepareFolder = async (
  { files, share }: MountedShare,
  record: ShareRecord,
  options: NfsOptions,
  c: Context,
): Promise<void> => {
  if (options.path === undefined) {
    await files.makeFolder(makingOf(record), traitsOf(options), c);
    return;
  }
  const folder = folderOf(record);
  if (folder === '' || (await files.hasFolder(folder, c))) return;
  throw new PluginError('SHARE_MISSING', { share: share.id, folder: options.path });
};

/** Undefined: another host was first. */
const writeRecord = async (
  { notes }: NfsParts,
  { files, share }: MountedShare,
  record: ShareRecord,
  options: NfsOptions,
  c: Context,
): Promise<ShareRecord | undefined> => {
  try {
    if (!(await createRecord(files, record, c))) return undefined;
    await notes.put(share.id, record.name, record);
    return record;
  } catch (error) {
    if (!options.readonly || options.path === undefined || !isReadOnly(error)) throw error;
    const { local = [] } = notes.get(share.id) ?? {};
    const before = local.find(({ name }) => name === record.name);
    if (before !== undefined) return checkSame(before, record);
    await notes.change(share.id, { local: [...local, record] });
    return record;
  }
};

/** A volume that cannot be what was asked for is none, unless it may work the next time, or somebody uses it already. */
const unmake = async (
  parts: NfsParts,
  mounted: MountedShare,
  record: ShareRecord,
  folder: string,
  { retry, code }: PluginError,
  c: Context,
): Promise<void> => {
  if (retry === 'backoff' || code === 'INTERNAL') return;
  const { files, share } = mounted;
  if (folder === folderOf(record)) {
    if (!(await takeUnused(parts, mounted, record, c))) return;
  } else {
    await files.makeFolder(TRASH, OWN_FOLDER, c);
    await files.move(folder, `${TRASH}/${record.name}.${record.uuid}`, c);
  }
  await removeRecord(files, record, c);
  await parts.notes.put(share.id, record.name, undefined);
};

/** False: it is used, or has been. */
const takeUnused = async (
  parts: NfsParts,
  mounted: MountedShare,
  record: ShareRecord,
  c: Context,
): Promise<boolean> => {
  const { files } = mounted;
  const check = async (): Promise<void> => {
    await refuseWhenUsed(files, record.name, parts.host, c);
    const [some] = await files.names(removingOf(record), c);
    if (some !== undefined) throw new PluginError('VOLUME_IN_USE', { volume: record.name });
  };
  try {
    return await takeFolder(files, record, TRASH, check, c);
  } catch (error) {
    if (!['VOLUME_BUSY', 'VOLUME_IN_USE'].includes(asPluginError(error).code)) throw error;
    return false;
  }
};

/** Nobody can write there, or not this host. */
const isReadOnly = (error: unknown): boolean => ['SHARE_READONLY', 'SHARE_REFUSED'].includes(asPluginError(error).code);
