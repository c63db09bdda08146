import { CLUSTER_TAG } from '../../shared/cloud/cluster-tag.ts';
import { PluginError } from '../../shared/errors.ts';
import type { DiskRequest, DiskTags } from './provider.ts';
import { fromPieces, leftoverPieces, toPieces } from './tag-pieces.ts';

/** Tags of disks and snapshots as EC2 keeps them: at most 50, values of at most 256 characters. Ours begin with `drayage:`. */

const MOST = 50;
const LONGEST = 256;
/** Room for what comes later in a volume's life: `formatting`, `formatted`, `epoch`, `leaving`, `retired`, `holds`, …. */
const LATER = 8;

const PREFIX = 'drayage:';

/** Tags of ours that say whose a disk is; the others are the volume's own. */
export const VOLUME = `${PREFIX}volume`;
export const CLUSTER = CLUSTER_TAG;
/** Which request made it: for one that is repeated with other parameters, and for snapshots, which EC2 takes no token for. */
export const TOKEN = `${PREFIX}token`;
/** What EC2's console shows. */
export const NAME = 'Name';

const OWNERSHIP: readonly string[] = [VOLUME, CLUSTER, TOKEN];

type Kept = Readonly<Record<string, string>>;

const isOurs = (name: string): boolean => name.startsWith(PREFIX);

/** A volume's tags as they are kept. */
export const toKept = (tags: DiskTags): Record<string, string> =>
  toPieces(Object.fromEntries(Object.entries(tags).map(([name, value]) => [PREFIX + name, value])), LONGEST);

/** A volume's tags as they were given. */
export const fromKept = (kept: Kept): Record<string, string> => {
  const own = Object.entries(kept).filter(([name]) => isOurs(name) && !OWNERSHIP.includes(name));
  const whole = Object.entries(fromPieces(Object.fromEntries(own)));
  return Object.fromEntries(whole.map(([name, value]) => [name.slice(PREFIX.length), value]));
};

export interface TagChanges {
  readonly set: Kept;
  readonly gone: readonly string[];
}

/** What to set and what to take away so that these tags are changed. `kept`: what is there. */
export const changesOf = (tags: Readonly<Record<string, string | undefined>>, kept: Kept): TagChanges => {
  const given = Object.entries(tags).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  const set = toKept(Object.fromEntries(given));
  const names = Object.keys(tags).map((name) => PREFIX + name);
  const gone = [...names, ...leftoverPieces(names, kept)].filter((name) => set[name] === undefined);
  return { set, gone: [...new Set(gone)].filter((name) => kept[name] !== undefined) };
};

/** Names of a disk's tags that are ours, but for these. */
export const oursBut = (kept: Kept, names: Kept): readonly string[] =>
  Object.keys(kept).filter((name) => isOurs(name) && names[name] === undefined);

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
  const room = MOST - LATER - OWNERSHIP.length - 1 - Object.keys(toKept(tags)).length;
  const count = Object.keys(labels).length;
  if (count > room) refuse(`${count} tags`, `a volume of EBS has ${MOST} tags in all`, `${Math.max(0, room)} of them`);
};
