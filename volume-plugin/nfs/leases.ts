import { type Context, newContext, remaining, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import type { LeaseHost } from './lease-files.ts';
import { LeaseShare, type SeenLease } from './lease-share.ts';
import { LEASE_CLOCK, LEASE_TIMES, type LeaseClock, type LeaseTimes } from './lease-times.ts';
import type { MountedShare } from './mounted-share.ts';

/** A share that is mounted here for writing. */
export interface LeasedShare {
  readonly share: Pick<MountedShare['share'], 'id'>;
  readonly files: MountedShare['files'];
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
  readonly #options: LeaseOptions;
  readonly #clock: LeaseClock;
  readonly #times: LeaseTimes;
  readonly #end = new AbortController();
  /** By the share's id. */
  readonly #shares = new Map<string, LeaseShare>();
  readonly #locks = new KeyedMutex();
  readonly #lost = new Map<string, string>();
  /** Volumes that an earlier life has mounted and that are being taken again. */
  readonly #resuming = new Set<string>();
  readonly #holders = new Map<string, LeaseHolder>();

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#clock = options.clock ?? LEASE_CLOCK;
    this.#times = options.times ?? LEASE_TIMES;
  }

  /**
   * Takes the volume for this host before it is mounted, and keeps it until `release`: at once when this host or an
   * earlier life of it has it. While its holder is silent it waits, for as long as the context lasts; see `progress`.
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
    this.#resuming.add(volume);
    const disarm = this.#clock.after(this.#times.resumeMs, () => {
      if (!this.#resuming.delete(volume)) return;
      share.drop(volume);
      this.#lose(volume, 'its lease on the share could not be looked at since the plugin was started');
    });
    void this.#resume(volume, share).finally(disarm);
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
    this.#resuming.delete(volume);
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
      if (epoch !== undefined) return { host: this.#options.self.name, epoch };
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
    this.#resuming.clear();
    await Promise.all([...this.#shares.values()].map((share) => share.close(CLOSE_MS)));
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
  }

  async #take(volume: string, share: LeaseShare, c: Context): Promise<{ readonly epoch: number }> {
    const held = share.held(volume);
    if (held !== undefined) return { epoch: held };
    this.#lost.delete(volume);
    for (;;) {
      throwIfDone(c);
      const seen = await this.#look(volume, share, c);
      if (this.#isOurs(seen) || this.#isOver(seen)) {
        if (await share.claim(volume, seen.epoch + 1, c)) {
          this.#resuming.delete(volume);
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
      await this.#pause(this.#times.lookMs, c.signal);
    }
  }

  async #resume(volume: string, share: LeaseShare): Promise<void> {
    while (this.#resuming.has(volume) && !this.#end.signal.aborted) {
      try {
        const c = this.#context(this.#times.roundMs);
        if (await this.#locks.run(volume, () => this.#takeAgain(volume, share, c), c)) return;
      } catch (thrown) {
        const error = asPluginError(thrown);
        this.#options.log.warn('the lease of a mounted volume could not be taken again yet', { volume, error });
      }
      await this.#pause(this.#times.lookMs / 2, this.#end.signal);
    }
  }

  /** Answers whether it is settled who has the volume. */
  async #takeAgain(volume: string, share: LeaseShare, c: Context): Promise<boolean> {
    const seen = await this.#look(volume, share, c);
    if (!this.#resuming.has(volume)) return true;
    const { epoch, lease } = seen;
    if (epoch > 0 && lease === undefined) return false;
    if (epoch === 0 || lease?.host.id === this.#options.self.id) {
      // Anew, though the last one is ours: another host may have watched it stand still, and be about to make the next.
      if (!(await share.claim(volume, epoch + 1, c))) return false;
      // Its time was over meanwhile, and it was cut off.
      if (!this.#resuming.delete(volume)) share.drop(volume);
      return true;
    }
    this.#resuming.delete(volume);
    const taken = lease?.takenFrom !== undefined;
    const how = taken ? 'an operator took it from' : `host ${lease?.host.name} took it over from`;
    this.#lose(volume, `${how} this host while its plugin did not run`);
    return true;
  }

  async #fence(volume: string, host: string, share: LeaseShare, c: Context): Promise<void> {
    const { self, log } = this.#options;
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
      } else await this.#pause(this.#times.lookMs, c.signal);
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
    return epoch === 0 || lease?.state === 'free' || lease?.host.id === this.#options.self.id;
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
    this.#options.onLost(volume, reason);
  }

  #on({ share: { id }, files }: LeasedShare): LeaseShare {
    const known = this.#shares.get(id);
    if (known !== undefined) {
      known.files = files;
      return known;
    }
    const { self, log } = this.#options;
    const onLost = (volume: string, reason: string): void => this.#lose(volume, reason);
    const parts = { self, log, clock: this.#clock, times: this.#times, end: this.#end.signal, onLost };
    const made = new LeaseShare(parts, files);
    this.#shares.set(id, made);
    return made;
  }

  #context(ms: number): Context {
    const { log } = this.#options;
    const parent: Context = {
      ...{ requestId: 'lease', signal: this.#end.signal, deadline: Number.POSITIVE_INFINITY, log },
    };
    return newContext(log, ms, parent);
  }

  /** Ends early with the signal: whoever goes on looks for that first. */
  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }
}

const seconds = (ms: number): number => Math.round(ms / 1000);
