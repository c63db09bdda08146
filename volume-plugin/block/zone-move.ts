import { randomUUID } from 'node:crypto';
import { type Context, now, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { isBlank, latestDisk } from './generations.ts';
import { busyDisk } from './hold-tag.ts';
import { type Leaver, leaversOf, leavingTag } from './leaving.ts';
import { NextGeneration, OPEN_SETTLES } from './next-generation.ts';
import type { Disk } from './provider.ts';
import { notRemoving, refuseWhileRemoved, removersOf } from './removers.ts';
import { forget, keepStill, type MoveParts, movedBy, mustBeDead, removeMoveSnapshots } from './stillness.ts';

/** A volume's disk in this host's zone. */
export interface Brought {
  /** Perhaps `moving` still: see `finish`. */
  readonly disk: Disk;
  /** Earlier generations that are not retired yet. */
  readonly older: readonly Disk[];
}

/** How far a move is. */
interface Progress {
  readonly from: string;
  readonly to: string;
  readonly percent: number;
}

/** So long after the last attempt the disk stays still for the next one, in milliseconds. */
const ABANDONED_MS = 600_000;
/** Where a disk goes when nobody brings its next generation to an end. */
const NOWHERE = '-';

/**
 * Brings volumes to this host's zone: the disk is kept still, a snapshot of it is made, and of that a disk of the next
 * generation. Where a move is stands in the tags of disks and snapshots, so that any host may go on with it.
 *
 * Three decisions are the provider's alone, and cannot go both ways: who has a disk (attaching), which disk is the next
 * generation of a given one (making it, with a token that names both), and that a disk stays still (see leaving.ts). Once
 * a next generation exists the one before is history: the host that made it never takes back that it is leaving.
 */
export class ZoneMove {
  readonly #deps: MoveParts;
  /** One at a time for a volume, tidying included. */
  readonly #locks = new KeyedMutex();
  readonly #progress = new Map<string, Progress>();
  /** By disk: when this process has last worked on its move, or has first seen the trace of an earlier one. */
  readonly #touched = new Map<string, number>();
  /** Disks whose move this process has worked on. */
  readonly #worked = new Set<string>();
  readonly #next: NextGeneration;

  constructor(deps: MoveParts) {
    this.#deps = deps;
    this.#next = new NextGeneration(deps);
  }

  /** How far the move of a volume to this host is, in words: `from zone a to zone b (43 %)`. */
  progress(volume: string): string | undefined {
    const found = this.#progress.get(volume);
    return found && `from zone ${found.from} to zone ${found.to} (${found.percent} %)`;
  }

  /**
   * The volume's disk in this host's zone, moved here if need be. `known`: the id of one of its disks. Errors:
   * VOLUME_BUSY, VOLUME_MOVING, VOLUME_REMOVING, DISK_MISSING, DISK_FAILED, STILL_WORKING, and those of the provider.
   */
  async bring(volume: string, known: string | undefined, c: Context): Promise<Brought> {
    return await this.#locks.run(
      volume,
      async () => {
        try {
          // Each round finds what another host, or an earlier attempt, has done meanwhile.
          for (;;) {
            const brought = await this.#round(volume, known, c);
            if (brought !== undefined) return brought;
          }
        } finally {
          this.#progress.delete(volume);
        }
      },
      c,
    );
  }

  /**
   * Must be asked with the disk as it was seen *after* it was attached here and before it is mounted. Errors: VOLUME_MOVING,
   * VOLUME_REMOVING, DISK_FAILED: then it must be let go.
   */
  checkAttached(disk: Disk): void {
    const { volume, id, tags } = disk;
    const [leaver] = leaversOf(tags);
    if (leaver !== undefined) throw movedBy(volume, leaver);
    refuseWhileRemoved(disk, this.#deps.self);
    if (tags.retired !== undefined) {
      const reason = `a later generation took its place at ${tags.retired}`;
      throw new PluginError('DISK_FAILED', { volume, disk: id, state: 'retired', reason });
    }
  }

  /** What is on the disk is in order, and it is attached here: it is the volume now, and earlier ones are retired. */
  async finish({ disk, older }: Brought, c: Context): Promise<Disk> {
    const { provider } = this.#deps;
    const { volume, zone } = disk;
    const { moving: from, ...tags } = disk.tags;
    if (from !== undefined) {
      await provider.tag(disk.id, { moving: undefined }, c);
      c.log.info('a volume has moved to another zone', { volume, disk: disk.id, zone, from });
    }
    try {
      const retired = new Date().toISOString();
      // By those that are not marked the next one knows that there is something left to do.
      if (older.length > 0) await removeMoveSnapshots(provider, volume, (one) => one.disk !== disk.id, c);
      for (const { id } of older) await provider.tag(id, { retired }, c);
    } catch (error) {
      // They are never used again, marked or not; the next mount does it.
      c.log.warn('earlier generations of a volume could not be marked yet', { volume, error: asPluginError(error) });
    }
    return { ...disk, tags };
  }

  /**
   * Lets disks go that this host has kept still for a move which nobody asks for any more, or which ended with an earlier
   * process. `disks`: a list of the cluster; what is done is decided by a new look.
   */
  async tidy(disks: readonly Disk[], c: Context): Promise<void> {
    const { self, settleMs } = this.#deps;
    for (const { id, volume, tags } of disks) {
      const mine = leaversOf(tags).find(({ host }) => host === self.id);
      if (mine === undefined || tags.retired !== undefined) continue;
      // Given up already; only when there is no later generation any more is it the volume again.
      const isLatest = latestDisk(disks.filter((one) => one.volume === volume))?.id === id;
      if (mine.zone === NOWHERE && !isLatest) continue;
      const since = this.#touched.get(id) ?? now();
      this.#touched.set(id, since);
      const rest = this.#worked.has(id) ? ABANDONED_MS : OPEN_SETTLES * settleMs;
      if (now() - since < rest || this.#locks.isHeld(volume)) continue;
      await this.#locks.run(volume, () => this.#giveUp(id, volume, c), c);
    }
  }

  /**
   * Ends the move that a host has begun, on an operator's word that this host is dead; nothing happens when no host of
   * that name moves the volume. Errors: VOLUME_MOVING when it is known to run.
   */
  async endMoveOf(volume: string, name: string, c: Context): Promise<void> {
    const { provider, settleMs } = this.#deps;
    const named = (disk: Disk | undefined): readonly Leaver[] =>
      leaversOf(disk?.tags ?? {}).filter((one) => one.name === name && one.zone !== NOWHERE);
    const end = async (): Promise<void> => {
      const disks = await provider.list(c, volume);
      const head = latestDisk(disks);
      const from = disks.find(({ id }) => id === head?.tags.moving);
      const [leavers, makers] = [named(head), named(from)];
      for (const leaver of [...leavers, ...makers]) {
        if ((await provider.fate(leaver.host, c)) === 'alive') throw movedBy(volume, leaver, 'and that host runs');
      }
      for (const { host: id, stillness } of makers) {
        await provider.tag(from?.id ?? '', leavingTag({ id, name, zone: NOWHERE }, stillness), c);
      }
      if (head === undefined || leavers.length === 0) return;
      await sleep(settleMs, c);
      if (latestDisk(await provider.list(c, volume))?.id !== head.id) return;
      c.log.warn('a move was ended on the word of an operator', { volume, disk: head.id, host: name });
      await forget(this.#deps, head, leavers, c);
    };
    await this.#locks.run(volume, end, c);
  }

  /** Nobody asks for a move any more: what it came to is left for any host to go on from. */
  async #giveUp(id: string, volume: string, c: Context): Promise<void> {
    const { provider, self } = this.#deps;
    const disks = await provider.list(c, volume);
    const [head, disk] = [latestDisk(disks), disks.find((one) => one.id === id)];
    if (disk === undefined || head === undefined) return;
    c.log.warn('a move that nobody asks for is given up', { volume, disk: id });
    // One with a later generation stays still for ever; only that one is not waited for any more.
    if (head.id === id) await this.#release(id, volume, c);
    else if (disk.tags.retired === undefined) {
      await provider.tag(id, leavingTag({ ...self, zone: NOWHERE }, randomUUID()), c);
    }
  }

  /** Answers the disk that is here, or undefined when there is news. */
  async #round(volume: string, known: string | undefined, c: Context): Promise<Brought | undefined> {
    const { provider, self, settleMs } = this.#deps;
    const disks = await this.#disks(volume, known, c);
    const head = latestDisk(disks);
    if (head === undefined) throw new PluginError('DISK_MISSING', { volume, disk: known ?? 'of any generation' });
    const { id, state, tags } = head;
    refuseWhileRemoved(head, self);
    // Of a removal that was refused, and could not take it back: who mounts here removes nothing.
    if (removersOf(tags).length > 0) await provider.tag(id, notRemoving(self.id), c);
    if (tags.retired !== undefined) throw new PluginError('DISK_MISSING', { volume, disk: `after ${id}` });
    if (tags.moving !== undefined && state === 'failed') {
      // It never was anybody's, and cannot become it any more.
      c.log.warn('the next generation of a volume could not be made; it is made again', { volume, disk: id });
      await provider.remove(id, c);
      await sleep(settleMs, c);
      return undefined;
    }
    const older = disks.filter((one) => one.id !== id && one.tags.retired === undefined);
    if (head.zone !== undefined && head.zone !== self.zone) {
      const disk = await this.#move(head, older, c);
      return disk && { disk, older: [...older, head] };
    }
    return (await this.#isHere(head, c)) ? { disk: head, older } : undefined;
  }

  /** All that there is of the volume, also one that a list does not show yet. */
  async #disks(volume: string, known: string | undefined, c: Context): Promise<readonly Disk[]> {
    const { provider } = this.#deps;
    const listed = await provider.list(c, volume);
    if (known === undefined || listed.some(({ id }) => id === known)) return listed;
    const found = await provider.describe(known, c);
    return found?.volume === volume ? [...listed, found] : listed;
  }

  /** The disk is in this zone: is nobody copying it away? False when that has ended just now. */
  async #isHere(head: Disk, c: Context): Promise<boolean> {
    const { provider, self, settleMs } = this.#deps;
    const leavers = leaversOf(head.tags);
    if (leavers.length === 0) return true;
    for (const leaver of leavers) if (leaver.host !== self.id) await mustBeDead(provider, head.volume, leaver, c);
    // What they have asked for at last may show only now.
    await sleep(settleMs, c);
    if (latestDisk(await provider.list(c, head.volume))?.id !== head.id) return false;
    c.log.warn('a move was given up: its host is gone', { volume: head.volume, disk: head.id });
    await forget(this.#deps, head, leavers, c);
    return false;
  }

  /** The disk is in another zone. Answers its next generation when this host has made it. */
  async #move(head: Disk, older: readonly Disk[], c: Context): Promise<Disk | undefined> {
    const { volume, id } = head;
    this.#show(head, 0);
    await this.#mayLeave(head, older, c);
    this.#worked.add(id);
    this.#touched.set(id, now());
    try {
      const still = await keepStill(this.#deps, head, c);
      if (still === undefined) return undefined;
      if (isBlank(still.disk)) return await this.#next.make(still.disk, undefined, c);
      const snapshot = await this.#next.copy(still, (percent) => this.#show(head, percent), c);
      return snapshot && (await this.#next.make(still.disk, snapshot, c));
    } catch (thrown) {
      // What may go better soon stays as it is for the next try; a refusal must not keep the volume from its own zone.
      const { retry, code } = asPluginError(thrown);
      if ((retry !== 'backoff' || code === 'VOLUME_REMOVING') && !c.signal.aborted) {
        await this.#release(id, volume, c).catch((error: unknown) =>
          c.log.warn('a disk is still kept from being attached', { volume, disk: id, error: asPluginError(error) }),
        );
      }
      throw thrown;
    } finally {
      this.#touched.set(id, now());
    }
  }

  /** Looks before anything is written: nearly always what it finds is so. Errors: VOLUME_BUSY, VOLUME_MOVING. */
  async #mayLeave(head: Disk, older: readonly Disk[], c: Context): Promise<void> {
    const { provider, self } = this.#deps;
    const { volume, zone, holder, state, tags } = head;
    // A generation that is being made is waited for by who has it made, as long as that host lives.
    const from = older.find(({ id }) => id === tags.moving);
    for (const leaver of leaversOf(from?.tags ?? {})) {
      if (leaver.zone === zone && leaver.host !== self.id) await mustBeDead(provider, volume, leaver, c);
    }
    if (holder === undefined || state === 'detaching') return;
    const fate = await provider.fate(holder.id, c);
    if (fate === 'stopped' || fate === 'gone') return;
    const reason = fate === 'alive' ? `in zone ${zone}` : 'and whether that host still runs is not known';
    throw busyDisk(head, reason);
  }

  /** Takes back that this host is leaving a disk, unless that has a later generation or may get one. */
  async #release(id: string, volume: string, c: Context): Promise<void> {
    const { provider, self } = this.#deps;
    if (this.#next.mayAppear(id)) return;
    const disks = await provider.list(c, volume);
    const head = disks.find((one) => one.id === id);
    if (head === undefined || latestDisk(disks)?.id !== id) return;
    await forget(
      this.#deps,
      head,
      leaversOf(head.tags).filter(({ host }) => host === self.id),
      c,
    );
    this.#touched.delete(id);
    this.#worked.delete(id);
    this.#next.forget(id);
  }

  #show({ volume, zone = '' }: Disk, percent: number): void {
    this.#progress.set(volume, { from: zone, to: this.#deps.self.zone ?? '', percent: Math.floor(percent) });
  }
}
