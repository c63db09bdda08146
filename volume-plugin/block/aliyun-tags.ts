import { PluginError } from '../../shared/errors.ts';
import { type Kept, tagsWith } from './cloud-tags.ts';
import type { DiskRequest } from './provider.ts';

/**
 * Tags of disks and snapshots as Aliyun keeps them: at most 20, values of at most 128 characters in which there is no
 * `http://` and which do not begin with `acs:`.
 */

const MOST = 20;
const LONGEST = 128;
/** Room for what comes later in a volume's life: `formatting`, `formatted`, `epoch`, `leaving`, `retired`, `holds`. */
const LATER = 6;

export const isDisk = (id: string): boolean => /^d-[a-z0-9]+$/i.test(id);
export const isSnapshot = (id: string): boolean => /^s-[a-z0-9]+$/i.test(id);

/** Without what is not allowed in a value, wherever a long one is cut. */
const encode = (value: string): string =>
  value
    .replaceAll('%', '%25')
    .replaceAll('://', '%3A//')
    .replace(/acs:/gi, (found) => `${found.slice(0, -1)}%3A`);

const decode = (value: string): string => value.replace(/%(3A|25)/g, (_, code: string) => (code === '25' ? '%' : ':'));

export const { toKept, fromKept, changesOf } = tagsWith({ longest: LONGEST, encode, decode });

/** Errors: OPTION_INVALID for labels that Aliyun does not take, or too many. `kept`: all tags of ours. */
export const checkLabels = ({ labels = {} }: DiskRequest, kept: Kept): void => {
  const refuse = (value: string, reason: string, allowed: string): never => {
    throw new PluginError('OPTION_INVALID', { where: 'The volume option', option: 'tags', value, reason, allowed });
  };
  for (const [name, value] of Object.entries(labels)) {
    if (name === '' || name.length > LONGEST || /^(drayage:|aliyun|acs:)|https?:\/\//i.test(name)) {
      refuse(name, 'Aliyun or Drayage uses such names itself', `names of up to ${LONGEST} characters`);
    }
    if (value.length > LONGEST || /^acs:|https?:\/\//i.test(value)) {
      refuse(`${name}=${value}`, 'Aliyun takes no such value', `values of up to ${LONGEST} characters without http://`);
    }
  }
  const room = MOST - LATER - Object.keys(kept).length;
  const count = Object.keys(labels).length;
  if (count > room) refuse(`${count} tags`, `a disk of Aliyun has ${MOST} tags in all`, `${Math.max(0, room)} of them`);
};
