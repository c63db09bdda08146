import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { createIn, OWN_FOLDER, USERS } from './records.ts';
import type { RecordFiles } from './share-files.ts';

/**
 * Which hosts have a volume mounted, in files on its share: for whoever wants to remove it. Nobody is kept from using it by
 * them, and a host that died stays there until it is back, or an operator says so.
 */

const ENDING = '.json';
/** In no volume's name. */
const SEPARATOR = '@';

export interface UserHost {
  readonly id: string;
  readonly name: string;
}

const nameOf = (volume: string, host: string): string => `${volume}${SEPARATOR}${host}${ENDING}`;
const pathOf = (volume: string, host: string): string => `${USERS}/${nameOf(volume, host)}`;

/**
 * While it is mounted here. That the file is there says so; what is in it is for people, and may be cut short. A share that
 * has no room for it is used all the same.
 */
export const addUser = async (files: RecordFiles, volume: string, host: UserHost, c: Context): Promise<void> => {
  const text = `${JSON.stringify({ format: 1, id: host.id, name: host.name })}\n`;
  try {
    await noteIn(files, nameOf(volume, host.id), text, c);
  } catch (thrown) {
    const error = asPluginError(thrown);
    if (!['BACKEND_REFUSED', 'SHARE_READONLY', 'SHARE_REFUSED'].includes(error.code)) throw error;
    c.log.warn('other hosts are not told that a volume is used here', { volume, error });
  }
};

/** Into the folder of users, which is there but for the first time. */
const noteIn = async (files: RecordFiles, name: string, text: string, c: Context): Promise<void> => {
  if (files.noteFile === undefined) {
    await createIn(files, USERS, name, text, c);
    return;
  }
  try {
    await files.noteFile(`${USERS}/${name}`, text, c);
  } catch (error) {
    if (asPluginError(error).code !== 'SHARE_MISSING') throw error;
    await files.makeFolder(USERS, OWN_FOLDER, c);
    await files.noteFile(`${USERS}/${name}`, text, c);
  }
};

/** After it was unmounted. */
export const removeUser = (files: RecordFiles, volume: string, host: Pick<UserHost, 'id'>, c: Context): Promise<void> =>
  files.removeFile(pathOf(volume, host.id), c);

const nameIn = (text: string, fallback: string): string => {
  try {
    const { name } = JSON.parse(text) as { readonly name?: unknown };
    return typeof name === 'string' ? name : fallback;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return fallback;
    throw error;
  }
};

export const usersOf = async (files: RecordFiles, volume: string, c: Context): Promise<readonly UserHost[]> => {
  const names = await files.names(USERS, c);
  const prefix = `${volume}${SEPARATOR}`;
  const ids = names.flatMap((name) =>
    name.startsWith(prefix) && name.endsWith(ENDING) ? [name.slice(prefix.length, -ENDING.length)] : [],
  );
  const users = ids.map(async (id): Promise<UserHost | undefined> => {
    const text = await files.readFile(pathOf(volume, id), c);
    return text === undefined ? undefined : { id, name: nameIn(text, id) };
  });
  return (await Promise.all(users)).filter((user) => user !== undefined);
};

/** Errors: VOLUME_BUSY, with the hosts beside `self` that have it mounted. */
export const refuseWhenUsed = async (
  files: RecordFiles,
  volume: string,
  self: Pick<UserHost, 'id'>,
  c: Context,
): Promise<void> => {
  const others = (await usersOf(files, volume, c)).filter(({ id }) => id !== self.id);
  if (others.length === 0) return;
  const holder = others.map((one) => one.name).join(', ');
  const reason = `which has it mounted (if that is dead: drayage volume fence ${volume} ${others[0]?.name ?? 'HOST'})`;
  throw new PluginError('VOLUME_BUSY', { volume, holder, reason });
};
