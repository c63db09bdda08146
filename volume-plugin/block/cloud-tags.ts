import { CLUSTER_TAG } from '../../shared/cloud/cluster-tag.ts';
import type { DiskTags } from './provider.ts';
import { fromPieces, leftoverPieces, toPieces } from './tag-pieces.ts';

/** Tags of disks and snapshots as clouds keep them. Ours begin with `drayage:`. */

const PREFIX = 'drayage:';

/** Tags of ours that say whose a disk is; the others are the volume's own. */
export const VOLUME = `${PREFIX}volume`;
export const CLUSTER = CLUSTER_TAG;
/** Which request made it: for one that is repeated with other parameters, and for what a cloud takes no token for. */
export const TOKEN = `${PREFIX}token`;
/** The volume whose it was before it was let go, where its name does not say so. */
export const RELEASED = `${PREFIX}released`;

const OWNERSHIP: readonly string[] = [VOLUME, CLUSTER, TOKEN, RELEASED];

/** Tags by their names at the cloud: ours and others'. */
export type Kept = Readonly<Record<string, string>>;

export interface TagChanges {
  readonly set: Kept;
  readonly gone: readonly string[];
}

/** What a cloud takes for a value. */
export interface TagValues {
  /** Its greatest length. */
  readonly longest: number;
  /** Makes any text one that the cloud takes, wherever it is cut. */
  encode?(value: string): string;
  decode?(value: string): string;
}

const isOurs = (name: string): boolean => name.startsWith(PREFIX);

/** How the volume's own tags are kept by a cloud. */
export const tagsWith = ({ longest, encode = same, decode = same }: TagValues) => {
  /** A volume's tags as they are kept. */
  const toKept = (tags: DiskTags): Record<string, string> => {
    const named = Object.entries(tags).map(([name, value]) => [PREFIX + name, encode(value)]);
    return toPieces(Object.fromEntries(named), longest);
  };

  /** A volume's tags as they were given. */
  const fromKept = (kept: Kept): Record<string, string> => {
    const own = Object.entries(kept).filter(([name]) => isOurs(name) && !OWNERSHIP.includes(name));
    const whole = Object.entries(fromPieces(Object.fromEntries(own)));
    return Object.fromEntries(whole.map(([name, value]) => [name.slice(PREFIX.length), decode(value)]));
  };

  /** What to set and what to take away so that these tags are changed. `kept`: what is there, so far as it is known. */
  const changesOf = (tags: Readonly<Record<string, string | undefined>>, kept: Kept): TagChanges => {
    const given = Object.entries(tags).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    );
    const set = toKept(Object.fromEntries(given));
    const names = Object.keys(tags).map((name) => PREFIX + name);
    const gone = [...names, ...leftoverPieces(names, kept)].filter((name) => set[name] === undefined);
    return { set, gone: [...new Set(gone)] };
  };

  return { toKept, fromKept, changesOf };
};

const same = (value: string): string => value;

/** Names of a disk's tags that are ours, but for these. */
export const oursBut = (kept: Kept, names: Kept): readonly string[] =>
  Object.keys(kept).filter((name) => isOurs(name) && names[name] === undefined);
