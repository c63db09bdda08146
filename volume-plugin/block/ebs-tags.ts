import { PluginError } from '../../shared/errors.ts';
import { type Kept, type TagChanges, tagsWith } from './cloud-tags.ts';
import type { DiskRequest } from './provider.ts';

/** Tags of disks and snapshots as EC2 keeps them: at most 50, values of at most 256 characters. */

const MOST = 50;
const LONGEST = 256;
/** Room for what comes later in a volume's life: `formatting`, `formatted`, `epoch`, `leaving`, `retired`, `holds`, …. */
const LATER = 8;

/** Those that say whose a disk is, and its name. */
const OWNERSHIP = 4;

/** What EC2's console shows. */
export const NAME = 'Name';

export const { toKept, fromKept, changesOf } = tagsWith({ longest: LONGEST });

/** Has what was changed arrived? */
export const shows = (kept: Kept, { set, gone }: TagChanges): boolean =>
  Object.entries(set).every(([name, value]) => kept[name] === value) && gone.every((name) => kept[name] === undefined);

/** Errors: OPTION_INVALID for labels that EC2 does not take, or too many. */
export const checkLabels = ({ labels = {}, tags }: DiskRequest): void => {
  const refuse = (value: string, reason: string, allowed: string): never => {
    throw new PluginError('OPTION_INVALID', { where: 'The volume option', option: 'tags', value, reason, allowed });
  };
  for (const [name, value] of Object.entries(labels)) {
    if (name === '' || name.length > 128 || name === NAME || /^(drayage:|aws:)/i.test(name)) {
      refuse(name, 'EC2 or Drayage uses such names itself', 'names of up to 128 characters');
    }
    if (value.length > LONGEST) refuse(`${name}=${value}`, 'it is too long', `values of up to ${LONGEST} characters`);
  }
  const room = MOST - LATER - OWNERSHIP - Object.keys(toKept(tags)).length;
  const count = Object.keys(labels).length;
  if (count > room) refuse(`${count} tags`, `a volume of EBS has ${MOST} tags in all`, `${Math.max(0, room)} of them`);
};
