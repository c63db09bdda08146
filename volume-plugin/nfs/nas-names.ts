import { posix } from 'node:path';
import { PluginError } from '../../shared/errors.ts';

/** What people call a share of NAS. */
export interface NasName {
  /** Of the file system; undefined: it is named by a mount target. */
  readonly id?: string;
  /** Host name of a mount target. */
  readonly domain?: string;
  /** Absolute, on the server. */
  readonly path: string;
}

const ID = /^(extreme-)?[a-z0-9]{6,40}$/i;
const DOMAIN = /^[a-z0-9-]+(\.[a-z0-9-]+)*\.nas\.aliyuncs\.com$/i;

/** Where the exports of Extreme file systems begin; those of others at the root. */
const EXTREME_ROOT = '/share';

const refuse = (value: string, reason: string): never => {
  throw new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'share', value, reason, example: '31a8e4abcd' },
    allowed: 'the id of a file system of NAS, or the host name of its mount target, and perhaps :/PATH after it',
  });
};

/**
 * `31a8e4abcd`, `extreme-0015abcd:/share/team` or `31a8e4abcd-abc12.cn-hangzhou.nas.aliyuncs.com:/team`. Errors:
 * OPTION_INVALID for what is none of these.
 */
export const parseNasName = (text: string): NasName => {
  const colon = text.indexOf(':');
  const name = (colon < 0 ? text : text.slice(0, colon)).toLowerCase();
  const isDomain = DOMAIN.test(name);
  if (name.startsWith('cpfs-') || name.endsWith('.cpfs.nas.aliyuncs.com')) {
    refuse(text, 'file systems of CPFS are mounted in another way');
  }
  if (!isDomain && !ID.test(name)) refuse(text, 'it names no file system of NAS');
  const extreme = isDomain ? name.endsWith('.extreme.nas.aliyuncs.com') : name.startsWith('extreme-');
  const root = extreme ? EXTREME_ROOT : '/';
  const path = pathOf(colon < 0 ? root : text.slice(colon + 1), text);
  if (extreme && path !== root && !path.startsWith(`${root}/`)) {
    refuse(text, `paths of Extreme file systems begin with ${root}`);
  }
  return { ...(isDomain ? { domain: name } : { id: name }), path };
};

const pathOf = (path: string, text: string): string => {
  const short = path.length > 1 ? path.replace(/\/$/, '') : path;
  if (!short.startsWith('/') || posix.normalize(short) !== short) refuse(text, 'its path is not absolute and plain');
  return short;
};

/** The same on every host, whichever way it was named. */
export const shareIdOf = (fileSystem: string, path: string): string => `${fileSystem}:${path}`;
