import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import {
  folderOf,
  MAKING,
  OWN_FOLDER,
  parseRecord,
  RETAINED,
  readRecord,
  recordPath,
  type ShareRecord,
  TRASH,
} from './records.ts';
import type { ShareFiles } from './share-files.ts';

/**
 * What is removed is first moved to where nobody looks for volumes, under a name of its own, and looked at once more: when
 * another host was faster, has made a new volume of that name, or has mounted the old one, it goes back. A host that dies
 * in between leaves it there, and others settle it after a while.
 */

/** NAME.UUID and NAME.UUID.json of what is being removed; what is there may turn out to be of another volume. */
export const REMOVING = '.drayage/removing';

const ENDING = '.json';

const entryOf = ({ name, uuid }: Pick<ShareRecord, 'name' | 'uuid'>): string => `${name}.${uuid}`;

/** Where the folder of a volume is while it is being removed. */
export const removingOf = (record: Pick<ShareRecord, 'name' | 'uuid'>): string => `${REMOVING}/${entryOf(record)}`;

/** Moves something into a folder of Drayage's own, which is there but for the first time; false: there is nothing. */
const moveInto = async (
  files: ShareFiles,
  from: string,
  folder: string,
  name: string,
  c: Context,
): Promise<boolean> => {
  const move = (): Promise<boolean> => files.move(from, `${folder}/${name}`, c);
  try {
    return await move();
  } catch (error) {
    if (asPluginError(error).code !== 'SHARE_MISSING') throw error;
    await files.makeFolder(folder, OWN_FOLDER, c);
    return await move();
  }
};

/**
 * Moves the folder of a volume to the trash, or to what is retained. `check` is asked when nobody can find the folder any
 * more, and throws when it must stay. Answers whether there was one that was the volume's.
 */
export const takeFolder = async (
  files: ShareFiles,
  record: ShareRecord,
  to: typeof TRASH | typeof RETAINED,
  check: () => Promise<void>,
  c: Context,
): Promise<boolean> => {
  const folder = folderOf(record);
  const entry = entryOf(record);
  const stage = removingOf(record);
  // The second look is for a removal that was cut off.
  if (!(await moveInto(files, folder, REMOVING, entry, c)) && !(await files.hasFolder(stage, c))) return false;
  const putBack = (): Promise<boolean> => files.move(stage, folder, c);
  try {
    const since = await readRecord(files, record.name, c);
    if (since !== undefined && since.uuid !== record.uuid) {
      await putBack();
      return false;
    }
    await check();
  } catch (error) {
    await putBack().catch((failure: unknown) => {
      c.log.warn('the folder of a volume is put back later', { volume: record.name, error: asPluginError(failure) });
    });
    throw error;
  }
  return await moveInto(files, stage, to, entry, c);
};

/** Ends a volume, unless the name has become another one's. */
export const removeRecord = async (files: ShareFiles, record: ShareRecord, c: Context): Promise<void> => {
  const { name, uuid } = record;
  if ((await readRecord(files, name, c))?.uuid !== uuid) return;
  await moveInto(files, recordPath(name), REMOVING, `${entryOf(record)}${ENDING}`, c);
  await settleRecord(files, name, uuid, c);
};

/** One that was taken in the place of the one that was meant goes back. */
const settleRecord = async (files: ShareFiles, name: string, uuid: string, c: Context): Promise<void> => {
  const stage = `${removingOf({ name, uuid })}${ENDING}`;
  const text = await files.readFile(stage, c);
  if (text === undefined) return;
  if (parseRecord(name, text).uuid !== uuid) await files.createFile(recordPath(name), text, c);
  await files.removeFile(stage, c);
};

/** What a host has left that died over a removal: answers what is in the trash now. */
export const settleRemoval = async (files: ShareFiles, entry: string, c: Context): Promise<readonly string[]> => {
  const isRecord = entry.endsWith(ENDING);
  const plain = isRecord ? entry.slice(0, -ENDING.length) : entry;
  const at = plain.lastIndexOf('.');
  const [name, uuid] = [plain.slice(0, at), plain.slice(at + 1)];
  if (isRecord) {
    await settleRecord(files, name, uuid, c);
    return [];
  }
  const from = `${REMOVING}/${entry}`;
  const record = await readRecord(files, name, c);
  // Whose it is cannot be told.
  if (record?.damage !== undefined) return [];
  if (record !== undefined && record.onRemove !== undefined && (await isWithoutFolder(files, record, entry, c))) {
    await files.move(from, folderOf(record), c);
    return [];
  }
  const isRetained = (await files.readFile(`${RETAINED}/${entry}${ENDING}`, c)) !== undefined;
  const moved = await moveInto(files, from, isRetained ? RETAINED : TRASH, entry, c);
  return moved && !isRetained ? [entry] : [];
};

/** Is the folder of a volume nowhere, unless it is this entry? */
const isWithoutFolder = async (files: ShareFiles, record: ShareRecord, entry: string, c: Context): Promise<boolean> => {
  if (await files.hasFolder(folderOf(record), c)) return false;
  if (entryOf(record) === entry) return true;
  const isItsOwn = (one: string): boolean => one.startsWith(entryOf(record)) && !one.endsWith(ENDING);
  const places = await Promise.all([MAKING, REMOVING, TRASH, RETAINED].map((place) => files.names(place, c)));
  return !places.flat().some(isItsOwn);
};
