import { PluginError } from '../../shared/errors.ts';
import { parseShare, SHARE_FORMS, shareTextProblem } from './share-text.ts';

/** How people write file systems of NAS: `31a8e4abcd`, with a folder behind it, or by the host name of a mount target. */

/** A folder of a file system. */
export interface NasName {
  /** Of the file system; undefined: it is named by a mount target. */
  readonly id?: string;
  /** Host name of a mount target. */
  readonly domain?: string;
  /** Absolute, on the server. */
  readonly path: string;
}

const FORMS = `the id of a file system of NAS, perhaps with :/PATH behind it; ${SHARE_FORMS} for another server`;
const EXAMPLE = '31a8e4abcd';

/** Ids have digits in them; a server's name that has none, or has a dot or a dash, is no id. */
const ID = /^(extreme-)?(?=[a-z]*\d)[a-z0-9]{8,40}$/;
const DOMAIN = /^[a-z0-9-]+\.([a-z0-9-]+)(\.extreme)?\.nas\.aliyuncs\.com$/;

/** Where the exports of Extreme file systems begin; those of others at the root. */
const EXTREME_ROOT = '/share';

const isExtreme = (host: string): boolean => /^extreme-|\.extreme\.nas\.aliyuncs\.com$/.test(host);

/** Why a text names neither a file system of NAS nor an export of another server, as a clause; undefined when it does. */
export const nasTextProblem = (text: string): string | undefined => {
  const [first = ''] = text.toLowerCase().split(':');
  if (/^cpfs-|\.cpfs\.aliyuncs\.com$|\.cpfs\.nas\.aliyuncs\.com$/.test(first)) {
    return 'file systems of CPFS are mounted in another way';
  }
  const read = readable(text);
  const problem = shareTextProblem(read);
  if (problem !== undefined || !isExtreme(first)) return problem;
  const { path } = parseShare(read);
  const isInside = path === EXTREME_ROOT || path.startsWith(`${EXTREME_ROOT}/`);
  return isInside ? undefined : `paths of Extreme file systems begin with ${EXTREME_ROOT}`;
};

/** The id in front; undefined: it is none of NAS's. */
const idIn = (text: string): string | undefined => {
  const [first = ''] = text.toLowerCase().split(':');
  return ID.test(first) ? first : undefined;
};

/** As shares of servers are written, with the path where it is the usual one: ids may be numbers, which no host is. */
const readable = (text: string): string => {
  const host = text.toLowerCase();
  const whole = ID.test(host) || DOMAIN.test(host) ? `${host}:${isExtreme(host) ? EXTREME_ROOT : '/'}` : text;
  const id = idIn(whole);
  return id === undefined ? whole : `id-${whole}`;
};

/**
 * The file system of this region that a text names. Undefined: it names another server, or NAS in another region, whose
 * host name is all there is to reach it by. Errors: OPTION_INVALID.
 */
export const nasNameIn = (text: string, region: string): NasName | undefined => {
  const reason = nasTextProblem(text);
  if (reason !== undefined) {
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'share', value: text, reason },
      ...{ allowed: FORMS, example: EXAMPLE },
    });
  }
  const id = idIn(text);
  const { server, path } = parseShare(readable(text));
  if (id !== undefined) return { id, path };
  return DOMAIN.exec(server)?.[1] === region ? { domain: server, path } : undefined;
};

/** NFS_SHARE, text by text. Throws SETTING_INVALID for one that names no share. */
export const checkNasSetting = (texts: readonly string[]): void => {
  for (const text of texts) {
    const reason = nasTextProblem(text);
    if (reason === undefined) continue;
    throw new PluginError('SETTING_INVALID', {
      ...{ where: 'The setting', plugin: 'cloudvol', option: 'NFS_SHARE', value: text, reason },
      ...{ allowed: `a list of shares: ${FORMS}`, example: EXAMPLE },
    });
  }
};

/** The id of a share, the same on every host and whichever way it was named. */
export const shareIdOf = (fileSystem: string, path: string): string => `${fileSystem}:${path}`;

/** All of a file system, as far as it is exported. */
export const rootOf = (fileSystem: string): string => shareIdOf(fileSystem, isExtreme(fileSystem) ? EXTREME_ROOT : '/');
