import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { RecordFiles, ShareFiles } from './share-files.ts';

/**
 * What stands on a share beside the volumes' files, so that every host lists the same volumes:
 *
 *     .drayage/volumes/NAME/             the files of a volume
 *     .drayage/volumes/NAME.json         its record: a volume exists when this does
 *     .drayage/making/NAME.UUID/         its folder, before its record is there
 *     .drayage/users/NAME@HOST.json      a host that has it mounted
 *     .drayage/removing/NAME.UUID/      being removed, and looked at once more; records, too
 *     .drayage/trash/NAME.UUID/          removed, and being emptied
 *     .drayage/retained/NAME.UUID/       removed, and kept, with NAME.UUID.json beside it
 *     .drayage/leases/                   who may write to volumes of one writer
 */

export const VOLUMES = '.drayage/volumes';
export const MAKING = '.drayage/making';
export const USERS = '.drayage/users';
export const TRASH = '.drayage/trash';
export const RETAINED = '.drayage/retained';

const ENDING = '.json';
const FORMAT = 1;

/** Of folders that are Drayage's own. */
export const OWN_FOLDER = { uid: 0, gid: 0, mode: 0o755 } as const;

/** A volume as its share has it. */
export interface ShareRecord {
  readonly name: string;
  /** As the user gave them, in canonical form. */
  readonly options: Readonly<Record<string, string>>;
  /** ISO time. */
  readonly created: string;
  /** The making that it is of: the same when that is repeated after a crash. */
  readonly making: string;
  /** Tells it from others that have had the name. */
  readonly uuid: string;
  /** What becomes of its files with it; absent: they were there before it, and stay. */
  readonly onRemove?: 'delete' | 'retain';
  /** Why it cannot be used; it exists all the same. */
  readonly damage?: string;
}

export const recordPath = (name: string): string => `${VOLUMES}/${name}${ENDING}`;

/** The folder of a volume's files, on the share; without a slash at its beginning. */
export const folderOf = ({ name, options }: Pick<ShareRecord, 'name' | 'options'>): string =>
  options['path'] === undefined ? `${VOLUMES}/${name}` : options['path'].replace(/^\/+/, '');

/** Where the folder of a volume is until the volume exists: of hosts that make one at once each makes a folder. */
export const makingOf = ({ name, uuid }: Pick<ShareRecord, 'name' | 'uuid'>): string => `${MAKING}/${name}.${uuid}`;

/** Puts the folder of a volume whose record is there in its place; false: it is there already, or lost. */
export const placeFolder = (files: ShareFiles, record: ShareRecord, c: Context): Promise<boolean> =>
  files.move(makingOf(record), folderOf(record), c);

/** Why a volume on a share cannot have this name, as a clause; undefined when it can. */
export const shareNameProblem = (name: string): string | undefined =>
  name.toLowerCase().endsWith(ENDING) ? `on shares names that end with ${ENDING} are records` : undefined;

export const recordText = ({ damage: _, ...record }: ShareRecord): string =>
  `${JSON.stringify({ format: FORMAT, ...record }, undefined, 2)}\n`;

const isTextMap = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((one) => typeof one === 'string');

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** Reads what people can edit, too: one that cannot be read is still a volume, with what is wrong with it. */
export const parseRecord = (name: string, text: string): ShareRecord => {
  const damaged = (damage: string): ShareRecord => ({
    ...{ name, options: {}, created: new Date(0).toISOString(), making: '', uuid: '', damage },
  });
  const value = parsed(text);
  if (typeof value !== 'object' || value === null) return damaged('its record is damaged');
  const { format, options, created, making, uuid, onRemove } = value as Readonly<Record<string, unknown>>;
  if (typeof format === 'number' && format > FORMAT) return damaged('its record is of a newer version of the plugin');
  if (format !== FORMAT || !isTextMap(options) || typeof uuid !== 'string' || !/^[0-9a-f-]{8,64}$/.test(uuid)) {
    return damaged('its record is damaged');
  }
  const time = typeof created === 'string' ? Date.parse(created) : Number.NaN;
  return {
    ...{ name, options, uuid, making: typeof making === 'string' ? making : '' },
    created: new Date(Number.isNaN(time) ? 0 : time).toISOString(),
    ...((onRemove === 'delete' || onRemove === 'retain') && { onRemove }),
  };
};

/** Undefined: there is no such volume on the share. */
export const readRecord = async (files: RecordFiles, name: string, c: Context): Promise<ShareRecord | undefined> => {
  if (shareNameProblem(name) !== undefined) return undefined;
  const text = await files.readFile(recordPath(name), c);
  return text === undefined ? undefined : parseRecord(name, text);
};

export const readRecords = async (files: RecordFiles, c: Context): Promise<readonly ShareRecord[]> => {
  const found = await files.readFiles(VOLUMES, ENDING, c);
  return found.map(({ name, content }) => parseRecord(name.slice(0, -ENDING.length), content));
};

/** Writes a new file into a folder of Drayage's own, which is there but for the first time; false: the name is taken. */
export const createIn = async (
  files: RecordFiles,
  folder: string,
  name: string,
  text: string,
  c: Context,
): Promise<boolean> => {
  const create = (): Promise<boolean> => files.createFile(`${folder}/${name}`, text, c);
  try {
    return await create();
  } catch (error) {
    if (asPluginError(error).code !== 'SHARE_MISSING') throw error;
    await files.makeFolder(folder, OWN_FOLDER, c);
    return await create();
  }
};

/** Writes the record of a new volume; false: some host has made one of that name before. */
export const createRecord = (files: RecordFiles, record: ShareRecord, c: Context): Promise<boolean> =>
  createIn(files, VOLUMES, `${record.name}${ENDING}`, recordText(record), c);

/** Writes the record of a volume anew that exists. */
export const replaceRecord = (files: RecordFiles, record: ShareRecord, c: Context): Promise<void> =>
  files.replaceFile(recordPath(record.name), recordText(record), c);

/** A volume whose record is in order. Errors: BACKEND_REFUSED. */
export const sound = (record: ShareRecord): ShareRecord => {
  if (record.damage === undefined) return record;
  throw new PluginError('BACKEND_REFUSED', {
    ...{ provider: 'nfs', what: `volume ${record.name}`, reason: `${record.damage} (${recordPath(record.name)})` },
  });
};
