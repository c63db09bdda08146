import { type Context, remaining, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import type { LeaseHost } from './lease-files.ts';
import { LeaseResuming } from './lease-resuming.ts';
import { LeaseShare, type SeenLease } from './lease-share.ts';
import type { LeaseParts } from './lease-signs.ts';
import { LEASE_CLOCK, LEASE_TIMES, type LeaseClock, type LeaseTimes, pauseOn } from './lease-times.ts';
import type { RecordFiles } from './share-files.ts';

/** A share that is mounted here for writing, or a bucket. */
export interface LeasedShare {
  readonly share: { readonly id: string };
  readonly files: RecordFiles;
}

export interface LeaseOptions {
  /** This host: random and made once, and its name for people. */
  readonly self: LeaseHost;
  readonly log: Logger;
  /**
   * A volume that this host had belongs to it no more: whoever uses it must be kept from writing, within the margin of
   * LeaseTimes. Must not throw.
   */
  readonly onLost: (volume: string, reason: string) => void;
  readonly clock?: LeaseClock;
  readonly times?: LeaseTimes;
}

/** Who has a volume, as far as it is known here. */
export interface LeaseHolder {
  readonly host: string;
  readonly epoch: number;
  /** Milliseconds for which it had not been heard of when it was looked for last; absent for this host. */
  readonly stillMs?: number;
}

/** For the last word to other hosts when the plugin is stopped. */
const CLOSE_MS = 2_000;
const UNKNOWN = 'unknown';

/**
 * `access=single-writer`: of all hosts one has the volume. Whoever has it has made the next epoch of its lease exclusively
 * and gives signs of life; another one makes the epoch after that when it has itself watched the holder give none for longer
 * than the holder goes on without. No clocks are compared, and no lock of the server is needed.
 *
 * What it does not do: a server of NFS refuses no writes of a host that has lost a lease. A host that was frozen as a whole
 * and wakes up can write until its next sign of life has been answered, and containers whose plugin was killed and does
 * not come back go on when another host has taken the volume.
 */
export class Leases {
  readonly #parts: LeaseParts;
  readonly #onLost: LeaseOptions['onLost'];
  readonly #times: LeaseTimes;
  readonly #end = new AbortController();
  /** By the share's id. */
  readonly #shares = new Map<string, LeaseShare>();
  readonly #locks = new KeyedMutex();
  readonly #lost = new Map<string, string>();
  readonly #resuming: LeaseResuming;
  readonly #holders = new Map<string, LeaseHolder>();

  constructor({ self, log, onLost, clock = LEASE_CLOCK, times = LEASE_TIMES }: LeaseOptions) {
    this.#parts = { self, log, clock, times, end: this.#end.signal };
    this.#times = times;
    this.#onLost = onLost;
    this.#resuming = new LeaseResuming(this.#parts, (volume, reason) => this.#lose(volume, reason));
  }

  /**
   * Takes the volume for this host before it is mounted, and keeps it until `release`: at once when this host or an
   * earlier life of it has it. While its holder is silent it waits, for as long as the context lasts; see `progress`.
   * Whoever has mounted it then asks `lost` once more: it may have been lost before there was anything to cut off.
   * Errors: VOLUME_BUSY (names the holder, and when it was heard of), those of ShareFiles, DEADLINE.
   */
  async take(volume: string, on: LeasedShare, c: Context): Promise<{ readonly epoch: number }> {
    const share = this.#on(on);
    return await this.#locks.run(volume, () => this.#take(volume, share, c), c);
  }

  /**
   * For what an earlier life of this plugin has mounted: takes it again, in the background. It is lost (`onLost`) when
   * another host has it by now, or when that cannot be found out soon (LeaseTimes.resumeMs).
   */
  resume(volume: string, on: LeasedShare): void {
    const share = this.#on(on);
    if (share.held(volume) !== undefined || this.#lost.has(volume) || this.#resuming.has(volume)) return;
    void this.#resuming.run(volume, share, (work, c) => this.#locks.run(volume, () => work(c), c));
  }

  /** Why the volume does not belong to this host any more; undefined: it does, or was never taken. */
  lost(volume: string): string | undefined {
    return this.#lost.get(volume);
  }

  /**
   * Lets other hosts have it: after everything was written out and unmounted. Succeeds when this host does not have it;
   * to be repeated when it fails. Errors: those of ShareFiles.
   */
  async release(volume: string, on: LeasedShare, c: Context): Promise<void> {
    const share = this.#on(on);
    this.#resuming.settle(volume);
    // Nobody uses it any more, so nobody need be told when it is lost.
    share.drop(volume);
    this.#lost.delete(volume);
    await this.#locks.run(volume, () => share.release(volume, c), c);
    this.#holders.delete(volume);
  }

  /**
   * Takes the volume away from another host, on an operator's word that this one is dead; whoever mounts it next has it.
   * Watches for a sign of life first. Succeeds when nobody has the volume. Errors: VOLUME_BUSY when a host of another name
   * has it, or it gives a sign of life; VOLUME_IN_USE when it is this host; those of ShareFiles.
   */
  async fence(volume: string, host: string, on: LeasedShare, c: Context): Promise<void> {
    const share = this.#on(on);
    await this.#locks.run(volume, () => this.#fence(volume, host, share, c), c);
  }

  /** Removes all traces, when the volume is removed; to be called by who has taken it. */
  async forget(volume: string, on: LeasedShare, c: Context): Promise<void> {
    const share = this.#on(on);
    this.#lost.delete(volume);
    await this.#locks.run(volume, () => share.forget(volume, c), c);
    this.#holders.delete(volume);
  }

  /** Who has it, from what is known: no I/O. */
  holder(volume: string): LeaseHolder | undefined {
    for (const share of this.#shares.values()) {
      const epoch = share.held(volume);
      if (epoch !== undefined) return { host: this.#parts.self.name, epoch };
    }
    return this.#holders.get(volume);
  }

  /** What `take` is waiting for, in words. */
  progress(volume: string): string | undefined {
    const { host, stillMs } = this.#holders.get(volume) ?? {};
    if (stillMs === undefined || !this.#locks.isHeld(volume)) return undefined;
    return `waiting for host ${host}, which ${this.#silence(stillMs)}`;
  }

  /**
   * Stops. What this host has stays its own: others are told that its plugin was stopped, and leave it alone until it is
   * back or an operator says that it is dead.
   */
  async close(): Promise<void> {
    await Promise.all([...this.#shares.values()].map((share) => share.close(CLOSE_MS)));
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
  }

  async #take(volume: string, share: LeaseShare, c: Context): Promise<{ readonly epoch: number }> {
    const held = share.held(volume);
    if (held !== undefined) return { epoch: held };
    this.#lost.delete(volume);
    const { clock } = this.#parts;
    for (;;) {
      throwIfDone(c);
      const seen = await this.#look(volume, share, c);
      if (this.#isOurs(seen) || this.#isOver(seen)) {
        if (await share.claim(volume, seen.epoch + 1, c)) {
          this.#resuming.settle(volume);
          return { epoch: seen.epoch + 1 };
        }
        continue;
      }
      if (this.#lives(seen)) throw this.#busy(volume, seen, `which was heard of ${seconds(seen.stillMs)} s ago`);
      if (seen.stopped) {
        throw this.#busy(volume, seen, 'where containers had it when the plugin was stopped, so they may go on');
      }
      // Whoever waits is told more by this than by the end of their time.
      if (remaining(c) <= this.#times.lookMs) {
        throw this.#busy(volume, seen, seen.lease && `which ${this.#silence(seen.stillMs)}`);
      }
      await pauseOn(clock, this.#times.lookMs, c.signal);
    }
  }

  async #fence(volume: string, host: string, share: LeaseShare, c: Context): Promise<void> {
    const { self, log, clock } = this.#parts;
    for (;;) {
      throwIfDone(c);
      const seen = await this.#look(volume, share, c);
      const { epoch, lease } = seen;
      if (epoch === 0 || lease?.state === 'free') return;
      if (lease?.host.id === self.id) throw new PluginError('VOLUME_IN_USE', { volume });
      const holder = lease?.host ?? { id: UNKNOWN, name: UNKNOWN };
      if (holder.name !== host) throw this.#busy(volume, seen, `not on ${host}`);
      if (this.#lives(seen)) throw this.#busy(volume, seen, 'and that host runs');
      if (lease === undefined || seen.stopped || seen.stillMs >= this.#times.aliveMs) {
        if (await share.takeAway(volume, epoch, holder, c)) {
          log.warn('a volume was taken from a host on the word of an operator', { volume, host });
          return;
        }
      } else await pauseOn(clock, this.#times.lookMs, c.signal);
    }
  }

  async #look(volume: string, share: LeaseShare, c: Context): Promise<SeenLease> {
    const seen = await share.look(volume, c);
    const { epoch, lease, stillMs } = seen;
    if (epoch === 0 || lease?.state === 'free') this.#holders.delete(volume);
    else this.#holders.set(volume, { host: lease?.host.name ?? UNKNOWN, epoch, stillMs });
    return seen;
  }

  /** Nobody's, or this host's: only this process gives signs of life for it. */
  #isOurs({ epoch, lease }: SeenLease): boolean {
    return epoch === 0 || lease?.state === 'free' || lease?.host.id === this.#parts.self.id;
  }

  #lives({ moved, stillMs }: SeenLease): boolean {
    return moved && stillMs < this.#times.aliveMs;
  }

  /** Its holder has stopped using it. */
  #isOver({ lease, stopped, stillMs }: SeenLease): boolean {
    return lease !== undefined && !stopped && stillMs >= lease.patienceMs + this.#times.marginMs;
  }

  #silence(stillMs: number): string {
    const all = this.#times.patienceMs + this.#times.marginMs;
    return `was not heard of for ${seconds(stillMs)} s (it is taken over after ${seconds(all)} s)`;
  }

  #busy(volume: string, { lease }: SeenLease, reason: string | undefined): PluginError {
    return new PluginError('VOLUME_BUSY', { volume, holder: lease?.host.name ?? UNKNOWN, reason });
  }

  #lose(volume: string, reason: string): void {
    this.#lost.set(volume, reason);
    this.#onLost(volume, reason);
  }

  #on({ share: { id }, files }: LeasedShare): LeaseShare {
    const known = this.#shares.get(id);
    if (known !== undefined) {
      known.use(files);
      return known;
    }
    const made = new LeaseShare(this.#parts, id, files, (volume, reason) => this.#lose(volume, reason));
    this.#shares.set(id, made);
    return made;
  }
}

const seconds = (ms: number): number => Math.round(ms / 1000);
