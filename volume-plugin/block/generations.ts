import { leaversOf } from './leaving.ts';
import type { Disk } from './provider.ts';
import { removersOf } from './removers.ts';

/**
 * Which of a volume's disks is the volume. A volume that moves to another zone gets a disk of a later generation there;
 * what older ones have must never come back. Nothing but tags and ids goes into these decisions, so that every host
 * comes to the same one.
 */

/** 1 for a disk that never moved. */
export const generationOf = ({ tags: { generation = '1' } }: Pick<Disk, 'tags'>): number =>
  /^[1-9]\d{0,8}$/.test(generation) ? Number(generation) : 1;

/** True for what may become of a disk later, but is not there to be used yet: its data was not verified. */
export const isMoving = ({ tags }: Pick<Disk, 'tags'>): boolean => tags.moving !== undefined;

/** Has nobody ever written to it? */
export const isBlank = ({ tags, fromSnapshot }: Pick<Disk, 'tags' | 'fromSnapshot'>): boolean =>
  tags.formatted === undefined && tags.imported === undefined && fromSnapshot === undefined;

/** Has nobody ever had it? It may begin as a copy. */
export const isPristine = (disk: Pick<Disk, 'tags' | 'fromSnapshot' | 'holder'>): boolean =>
  disk.holder === undefined &&
  disk.tags.formatting === undefined &&
  disk.tags.generation === undefined &&
  (isBlank(disk) || disk.tags.clone !== undefined);

/**
 * Later generations first; of two with one generation, made at the same time by two hosts, the one that was written to
 * (the other may only have shown late), or else the older one.
 */
const byRank = (a: Disk, b: Disk): number =>
  generationOf(b) - generationOf(a) ||
  Number(isBlank(a)) - Number(isBlank(b)) ||
  a.created.localeCompare(b.created) ||
  (a.id < b.id ? -1 : 1);

/**
 * The disk that a volume is on: of the highest generation that is not `moving`. Disks that are being deleted do not
 * count. When only `moving` ones are left the volume is still there, though `unusable` says that it cannot be used.
 * Undefined: there is no such volume.
 */
export const currentDisk = (disks: readonly Disk[]): Disk | undefined => {
  const there = disks.filter(({ state }) => state !== 'deleting').toSorted(byRank);
  return there.find((disk) => !isMoving(disk)) ?? there[0];
};

/** The latest generation that is there, verified or not: moves go on from it. */
export const latestDisk = (disks: readonly Disk[]): Disk | undefined =>
  disks.filter(({ state }) => state !== 'deleting').toSorted(byRank)[0];

/** The current disk of every volume among these. */
export const currentDisks = (disks: readonly Disk[]): readonly Disk[] => {
  const volumes = Map.groupBy(disks, ({ volume }) => volume);
  return [...volumes.values()].flatMap((siblings) => currentDisk(siblings) ?? []);
};

/** Why a disk must not be attached or mounted: what it is, and more about it. */
export interface Unusable {
  readonly state: string;
  readonly reason: string;
}

/** Undefined for a disk that may be attached and mounted. `siblings`: every disk of its volume, with itself or without. */
export const unusable = (disk: Disk, siblings: readonly Disk[]): Unusable | undefined => {
  const { retired, moving } = disk.tags;
  const [[leaver], [remover]] = [leaversOf(disk.tags), removersOf(disk.tags)];
  const mine = generationOf(disk);
  const later = siblings.find((one) => one.id !== disk.id && generationOf(one) > mine && one.state !== 'deleting');
  if (retired !== undefined) return { state: 'retired', reason: `it was replaced at ${retired}` };
  if (later !== undefined) {
    return { state: 'out of date', reason: `${later.id} is generation ${generationOf(later)}, it is ${mine}` };
  }
  if (leaver !== undefined) {
    return { state: 'leaving', reason: `host ${leaver.name} moves its data to zone ${leaver.zone}` };
  }
  if (remover !== undefined) return { state: 'removing', reason: `host ${remover.name} removes it` };
  if (moving !== undefined) return { state: 'moving', reason: 'its data was copied and not verified yet' };
  return undefined;
};
