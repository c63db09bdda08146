import { PluginError } from '../../shared/errors.ts';
import { parseShare, SHARE_FORMS, shareTextProblem } from './share-text.ts';

/** How people write file systems of EFS: `fs-0123456789abcdef0`, with a folder behind it, or by its host name. */

/** A folder of a file system. */
export interface EfsName {
  readonly fileSystem: string;
  /** Absolute, on the file system. */
  readonly path: string;
}

const FORMS = `fs-… or fs-…:/PATH for a file system of EFS; ${SHARE_FORMS} for another server`;
const EXAMPLE = 'fs-0123456789abcdef0';

const ID = /^fs-([0-9a-f]{8}|[0-9a-f]{17})$/;
/** EFS user guide, "Mounting with DNS": a zone's own name has the zone in front. */
const HOST = /^(?:[a-z0-9-]+\.)?(fs-[0-9a-f]+)\.efs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/;

/** Why a text names neither a file system of EFS nor an export of another server, as a clause; undefined when it does. */
export const efsTextProblem = (text: string): string | undefined => {
  const [first = ''] = text.split(':');
  if (/^fsap-/.test(first)) {
    return 'it is an access point, and those are reached through TLS, which is not supported yet: name the file system';
  }
  if (!/^fs-[^.]*$/.test(first)) return shareTextProblem(text);
  if (!ID.test(first)) return `"${first}" is no id of a file system`;
  return shareTextProblem(text === first ? `${text}:/` : text);
};

/**
 * The file system of this region that a text names. Undefined: it names another server, or EFS in another region, whose
 * host name is all there is to reach it by. Errors: OPTION_INVALID.
 */
export const efsNameIn = (text: string, region: string): EfsName | undefined => {
  const reason = efsTextProblem(text);
  if (reason !== undefined) {
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'share', value: text, reason },
      ...{ allowed: FORMS, example: EXAMPLE },
    });
  }
  const { server, path } = parseShare(text.includes(':') ? text : `${text}:/`);
  if (ID.test(server)) return { fileSystem: server, path };
  const [, fileSystem = '', there] = HOST.exec(server) ?? [];
  return there === region && ID.test(fileSystem) ? { fileSystem, path } : undefined;
};

/** NFS_SHARE, text by text. Throws SETTING_INVALID for one that names no share. */
export const checkEfsSetting = (texts: readonly string[]): void => {
  for (const text of texts) {
    const reason = efsTextProblem(text);
    if (reason === undefined) continue;
    throw new PluginError('SETTING_INVALID', {
      ...{ where: 'The setting', plugin: 'cloudvol', option: 'NFS_SHARE', value: text, reason },
      ...{ allowed: `a list of shares: ${FORMS}`, example: EXAMPLE },
    });
  }
};
