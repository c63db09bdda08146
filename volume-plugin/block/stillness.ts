import { randomUUID } from 'node:crypto';
import { type Context, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { freeDisk } from './attach.ts';
import { latestDisk } from './generations.ts';
import { type Leaver, leaversOf, leavingTag, notLeaving } from './leaving.ts';
import type { Disk, DiskHost, DiskProvider, DiskTraits, Snapshot } from './provider.ts';
import { refuseWhileRemoved } from './removers.ts';

/** What a move works with. */
export interface MoveParts {
  readonly provider: DiskProvider;
  readonly self: DiskHost;
  /** What a disk was asked to be like, and its next generation shall be. */
  traits(disk: Disk): DiskTraits;
  /** Twice the time, in milliseconds, after which every host sees what one has written to the provider. */
  readonly settleMs: number;
}

/** A disk that nobody has, nor can get while this host says that it is leaving it. */
export interface Still {
  /** As it was seen then. */
  readonly disk: Disk;
  /** The name of the stillness: nothing was written to the disk since a snapshot first bore it. */
  readonly stillness: string;
}

/**
 * Keeps the disk from being attached anywhere. Answers it as it is then, and the name of this stillness, which has
 * lasted since it was given; undefined when there is a later generation, or this host was fenced off. Errors:
 * VOLUME_REMOVING, and as of `freeDisk`.
 */
export const keepStill = async (
  { provider, self, settleMs }: MoveParts,
  head: Disk,
  c: Context,
): Promise<Still | undefined> => {
  const { id, volume } = head;
  const before = leaversOf(head.tags);
  const isMine = ({ host }: Leaver): boolean => host === self.id;
  if (!before.some(isMine)) await provider.tag(id, leavingTag(self, randomUUID()), c);
  await sleep(settleMs, c);
  const disk = await freeDisk(provider, head, settleMs, c);
  // Who removes it looks the other way round.
  refuseWhileRemoved(disk, self);
  const mine = leaversOf(disk.tags).find(isMine);
  if (mine === undefined || latestDisk(await provider.list(c, volume))?.id !== id) return undefined;
  if (before.some(isMine)) return { disk, stillness: mine.stillness };
  // It was still before, and has been ever since, when who kept it so does so yet: their snapshots are good.
  const joined = leaversOf(disk.tags).find(({ host, stillness }) =>
    before.some((one) => one.host === host && one.stillness === stillness),
  );
  if (joined === undefined) return { disk, stillness: mine.stillness };
  await provider.tag(id, leavingTag(self, joined.stillness), c);
  return { disk, stillness: joined.stillness };
};

/** The refusal of what cannot be done with a disk that another host is leaving. */
export const movedBy = (volume: string, { zone, name }: Leaver, reason?: string): PluginError =>
  new PluginError('VOLUME_MOVING', { volume, zone, holder: name, reason });

/** Errors: VOLUME_MOVING unless the host is stopped or gone. */
export const mustBeDead = async (provider: DiskProvider, volume: string, leaver: Leaver, c: Context): Promise<void> => {
  const fate = await provider.fate(leaver.host, c);
  if (fate === 'stopped' || fate === 'gone') return;
  throw movedBy(volume, leaver, fate === 'alive' ? undefined : 'and whether that host still runs is not known');
};

/** Of disks that are to be removed: a move that goes on would bring their volume back. Errors: VOLUME_MOVING. */
export const refuseWhileMoving = async (
  provider: DiskProvider,
  self: DiskHost,
  disks: readonly Disk[],
  c: Context,
): Promise<void> => {
  const head = latestDisk(disks);
  for (const leaver of leaversOf(head?.tags ?? {})) {
    if (head !== undefined && leaver.host !== self.id) await mustBeDead(provider, head.volume, leaver, c);
  }
};

/** Removes what these hosts said of the disk, and the snapshots that are of no use to others. */
export const forget = async (
  { provider }: MoveParts,
  { id, volume, tags }: Disk,
  leavers: readonly Leaver[],
  c: Context,
): Promise<void> => {
  const others = leaversOf(tags).filter(({ host }) => !leavers.some((one) => one.host === host));
  const ended = new Set(leavers.map(({ stillness }) => stillness));
  for (const { stillness } of others) ended.delete(stillness);
  await removeMoveSnapshots(provider, volume, ({ disk, tags: { move = '' } }) => disk === id && ended.has(move), c);
  for (const { host } of leavers) await provider.tag(id, notLeaving(host), c);
};

/** Removes snapshots that were only there for a move. */
export const removeMoveSnapshots = async (
  provider: DiskProvider,
  volume: string,
  which: (snapshot: Snapshot) => boolean,
  c: Context,
): Promise<void> => {
  for (const one of await provider.snapshots(c, volume)) {
    if (one.tags.reason === 'move' && which(one)) await provider.removeSnapshot(one.id, c);
  }
};
