import { randomUUID } from 'node:crypto';
import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { busyDisk } from './hold-tag.ts';
import type { Disk, DiskHost, DiskProvider } from './provider.ts';
import { endedTag, notRemoving, removedBy, removersOf, removingTag, wasEnded } from './removers.ts';

/** For saying that a disk is not removed, when there is no time left for anything else. */
const TAKE_BACK_MS = 10_000;

/** What the barring of a disk works with. */
export interface BarParts {
  readonly provider: DiskProvider;
  self(): DiskHost;
  /** Twice the time, in milliseconds, after which every host sees what one has written to the provider. */
  readonly settleMs: number;
}

/** A disk that no other host can have while this one says that it removes it. */
export interface Barred {
  /** As it was seen then. */
  readonly disk: Disk;
  /** The name of this time: nobody has written to the disk since a snapshot first bore it. */
  readonly removal: string;
}

/**
 * Keeps the disk from being attached by any other host. `removal`: what this host has written down for its removal;
 * `resumed`: it was begun by an earlier call. A removal that another host has begun, or this one, is joined. Undefined:
 * the disk is gone. Errors: VOLUME_BUSY when a host has it, BACKEND_REFUSED when an operator has ended this removal.
 */
export const barDisk = async (
  { provider, self, settleMs }: BarParts,
  before: Disk,
  { removal = randomUUID(), resumed = false }: { readonly removal?: string; readonly resumed?: boolean },
  c: Context,
): Promise<Barred | undefined> => {
  const here = self();
  const { id, tags } = before;
  if (resumed && wasEnded(tags, here.id)) throw endedByFence(provider, before);
  const [mine, others] = [of(before, here), removersOf(tags).filter(({ host }) => host !== here.id)];
  const own = mine?.removal ?? removal.slice(0, 8);
  if (mine === undefined) await provider.tag(id, removingTag(here, own), c);
  if (provider.isPrompt !== true) await sleep(settleMs, c);
  const disk = await nobodys(provider, here, id, c);
  if (disk === undefined) return undefined;
  // Another host kept everybody away before, and has done so ever since: its snapshot is good.
  const joined = removersOf(disk.tags).find((one) =>
    others.some(({ host, removal: theirs }) => host === one.host && theirs === one.removal),
  );
  if (mine !== undefined || joined === undefined) return { disk, removal: own };
  await provider.tag(id, removingTag(here, joined.removal), c);
  return { disk, removal: joined.removal };
};

/**
 * The last look before the disk goes: this host has kept it from everybody all the time. False: the disk is gone. Errors:
 * as of `barDisk`.
 */
export const isBarred = async ({ provider, self }: BarParts, { disk: { id } }: Barred, c: Context): Promise<boolean> =>
  (await nobodys(provider, self(), id, c)) !== undefined;

/** Says that the disk is not removed after all. What cannot be said now is by this host's next mount or removal of it. */
export const unbarDisk = async ({ provider, self }: BarParts, { id, volume }: Disk, c: Context): Promise<void> => {
  try {
    await provider.tag(id, notRemoving(self().id), newContext(c.log, TAKE_BACK_MS));
  } catch (thrown) {
    const error = asPluginError(thrown);
    c.log.warn('other hosts cannot mount a volume yet, though it is not removed', { volume, disk: id, error });
  }
};

/**
 * Ends the removals that a host has begun, on an operator's word that this host is dead. Errors: VOLUME_REMOVING when it
 * is known to run.
 */
export const endRemovalOf = async (
  provider: DiskProvider,
  disks: readonly Disk[],
  name: string,
  c: Context,
): Promise<void> => {
  for (const { id, volume, tags, holder } of disks) {
    for (const remover of removersOf(tags).filter((one) => one.name === name)) {
      const isAlive = (await provider.fate(remover.host, c)) === 'alive';
      if (isAlive) throw removedBy(volume, remover, 'that host runs');
      await provider.tag(id, endedTag(remover), c);
      // It may have been copying the disk.
      if (holder === undefined) await provider.detach(id, remover.host, c);
      c.log.warn('a removal was ended on the word of an operator', { volume, disk: id, host: name });
    }
  }
};

const of = ({ tags }: Disk, { id }: DiskHost) => removersOf(tags).find(({ host }) => host === id);

/** Nobody has the disk, and this host says that it removes it. Undefined: it is gone. */
const nobodys = async (provider: DiskProvider, here: DiskHost, id: string, c: Context): Promise<Disk | undefined> => {
  const found = await provider.describe(id, c);
  if (found === undefined || found.state === 'deleting') return undefined;
  if (of(found, here) === undefined) throw endedByFence(provider, found);
  if (found.holder !== undefined) throw busyDisk(found);
  return found;
};

const endedByFence = ({ name }: DiskProvider, { volume }: Disk): PluginError =>
  new PluginError('BACKEND_REFUSED', {
    ...{ provider: name, what: `to remove volume ${volume}` },
    reason: 'this removal was ended from another host with drayage volume fence',
  });
