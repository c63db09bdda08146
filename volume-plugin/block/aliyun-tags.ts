import { CLUSTER_TAG } from '../../shared/cloud/cluster-tag.ts';
import { PluginError } from '../../shared/errors.ts';
import type { DiskRequest, DiskTags } from './provider.ts';
import { fromPieces, leftoverPieces, toPieces } from './tag-pieces.ts';

/**
 * Tags of disks and snapshots as Aliyun keeps them: at most 20, values of at most 128 characters in which there is no
 * `http://` and which do not begin with `acs:`. Ours begin with `drayage:`.
 */

const MOST = 20;
const LONGEST = 128;
/** Room for what comes later in a volume's life: `formatting`, `formatted`, `epoch`, `leaving`, `retired`, `holds`. */
const LATER = 6;

const PREFIX = 'drayage:';

/** Tags of ours that say whose a disk is; the others are the volume's own. */
export const VOLUME = `${PREFIX}volume`;
export const CLUSTER = CLUSTER_TAG;
/** Which request made it: for one that is repeated with other parameters. */
export const TOKEN = `${PREFIX}token`;
/** The volume whose it was before it was let go. */
export const RELEASED = `${PREFIX}released`;

const OWNERSHIP: readonly string[] = [VOLUME, CLUSTER, TOKEN, RELEASED];

export const isDisk = (id: string): boolean => /^d-[a-z0-9]+$/i.test(id);
export const isSnapshot = (id: string): boolean => /^s-[a-z0-9]+$/i.test(id);

type Kept = Readonly<Record<string, string>>;

/** Without what is not allowed in a value, wherever a long one is cut. */
const encode = (value: string): string =>
  value
    .replaceAll('%', '%25')
    .replaceAll('://', '%3A//')
    .replace(/acs:/gi, (found) => `${found.slice(0, -1)}%3A`);

const decode = (value: string): string => value.replace(/%(3A|25)/g, (_, code: string) => (code === '25' ? '%' : ':'));

/** A volume's tags as they are kept. */
export const toKept = (tags: DiskTags): Record<string, string> =>
  toPieces(Object.fromEntries(Object.entries(tags).map(([name, value]) => [PREFIX + name, encode(value)])), LONGEST);

/** A volume's tags as they were given. */
export const fromKept = (kept: Kept): Record<string, string> => {
  const ours = Object.entries(kept).filter(([name]) => name.startsWith(PREFIX) && !OWNERSHIP.includes(name));
  return Object.fromEntries(
    Object.entries(fromPieces(Object.fromEntries(ours))).map(([name, value]) => [
      name.slice(PREFIX.length),
      decode(value),
    ]),
  );
};

/** What to set and what to take away so that these tags are changed. `kept`: what is there, so far as it is known. */
export const changesOf = (
  tags: Readonly<Record<string, string | undefined>>,
  kept: Kept,
): { readonly set: Kept; readonly gone: readonly string[] } => {
  const given = Object.entries(tags).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  const set = toKept(Object.fromEntries(given));
  const names = Object.keys(tags).map((name) => PREFIX + name);
  const gone = [...names, ...leftoverPieces(names, kept)].filter((name) => set[name] === undefined);
  return { set, gone: [...new Set(gone)] };
};

/** Names of a disk's tags that are ours, but for these. */
export const oursBut = (kept: Kept, names: Kept): readonly string[] =>
  Object.keys(kept).filter((name) => name.startsWith(PREFIX) && names[name] === undefined);

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
