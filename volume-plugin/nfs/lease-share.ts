import { randomUUID } from 'node:crypto';
import { type Context, newContext, noLongerThan } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import {
  beatPath,
  epochsOf,
  LEASES,
  type Lease,
  type LeaseHost,
  leasePath,
  readBeat,
  readLease,
  writeBeat,
  writeLease,
} from './lease-files.ts';
import type { LeaseClock, LeaseTimes } from './lease-times.ts';
import { LeaseWatch, type Watched } from './lease-watch.ts';
import type { ShareFiles } from './share-files.ts';

export interface LeaseShareParts {
  readonly self: LeaseHost;
  readonly clock: LeaseClock;
  readonly times: LeaseTimes;
  readonly log: Logger;
  /** Ends with the plugin. */
  readonly end: AbortSignal;
  /** A volume that this host had belongs to it no more. */
  readonly onLost: (volume: string, reason: string) => void;
}

/** A lease that this host has. */
interface Hold {
  readonly volume: string;
  readonly epoch: number;
  /** It was found to be the greatest epoch after it was made. */
  sure: boolean;
  /** On this host's clock: when it is given up unless a sign of life comes through before. */
  until: number;
  disarm: () => void;
}

/** The names of the folder, read after a sign of life of ours was written: see LeaseShare. */
interface Round {
  readonly began: number;
  readonly epochs: ReadonlyMap<string, readonly number[]>;
}

/** The greatest epoch of a volume, as a look has shown it. */
export interface SeenLease extends Watched {
  /** 0: there is none. */
  readonly epoch: number;
  /** Undefined with an epoch: it cannot be read by this version, or was removed meanwhile. */
  readonly lease?: Lease;
  /** Its host's plugin was stopped while containers had the volume. */
  readonly stopped: boolean;
}

/** Epochs before the last that are kept, for whoever sees an old list of names: it makes one that is there, and is refused. */
const KEPT = 3;
const STOPPED = 'the plugin is stopping';

/**
 * The leases on one share. Before each look at others' a sign of life of this host is written into the same folder: the
 * kernel's client then finds out that others have changed the folder, and shows no names or files from its memory,
 * whatever mount options say.
 */
export class LeaseShare {
  /** The latest that were given; all are of the same share. */
  files: ShareFiles;
  readonly #parts: LeaseShareParts;
  readonly #watch: LeaseWatch;
  readonly #holds = new Map<string, Hold>();
  #prepared = false;
  /** The last round, and one that has not begun yet. */
  #last: Promise<unknown> = Promise.resolve();
  #next: Promise<Round> | undefined;
  #stopBeating: (() => void) | undefined;
  #failing = false;
  #closed = false;

  constructor(parts: LeaseShareParts, files: ShareFiles) {
    this.#parts = parts;
    this.#watch = new LeaseWatch(parts.times.gapMs);
    this.files = files;
  }

  /** The epoch that this host has of a volume. */
  held(volume: string): number | undefined {
    const hold = this.#holds.get(volume);
    return hold?.sure ? hold.epoch : undefined;
  }

  /** Looks at the volume's lease. Errors: those of ShareFiles. */
  async look(volume: string, c: Context): Promise<SeenLease> {
    const { began, epochs } = await this.#round(c);
    const epoch = Math.max(0, ...(epochs.get(volume) ?? []));
    if (epoch === 0) return { epoch, stillMs: 0, moved: false, stopped: false };
    const content = await this.files.readFile(leasePath(volume, epoch), c);
    const lease = content === undefined ? undefined : readLease(content);
    if (lease === undefined) return { epoch, stillMs: 0, moved: false, stopped: false };
    const beat = readBeat((await this.files.readFile(beatPath(lease.host.id), c)) ?? '');
    const mine = beat?.holds.get(volume) === epoch ? beat : undefined;
    const sign = mine?.sign ?? '';
    const seen = this.#watch.see(volume, { token: lease.token, sign, began, ended: this.#parts.clock.now() });
    return { ...seen, epoch, lease, stopped: mine?.stopped ?? false };
  }

  /**
   * Takes the volume by making an epoch of its lease. False: another host has made it, or a later one. From now on the
   * lease is kept alive.
   */
  async claim(volume: string, epoch: number, c: Context): Promise<boolean> {
    if (this.#closed) throw new PluginError('NOT_READY', { reason: STOPPED });
    const { clock, times } = this.#parts;
    const until = clock.now() + times.patienceMs;
    if (!(await this.#make(volume, epoch, { state: 'held' }, c))) return false;
    const hold: Hold = { volume, epoch, sure: false, until, disarm: () => undefined };
    this.drop(volume);
    this.#holds.set(volume, hold);
    this.#arm(hold);
    try {
      // With it goes the first sign of life that names this lease.
      const { epochs } = await this.#round(c);
      if (this.#holds.get(volume) !== hold) return false;
      hold.sure = true;
      this.#beat();
      this.#sweep(volume, epoch, epochs.get(volume) ?? []);
      return true;
    } catch (error) {
      // Nobody keeps it alive then: this host's next one follows at once, another host's when it has stood still.
      if (this.#holds.get(volume) === hold) this.drop(volume);
      throw error;
    }
  }

  /** Says that nobody has the volume, in the place of whoever has it. False: something has changed meanwhile. */
  takeAway(volume: string, epoch: number, from: LeaseHost, c: Context): Promise<boolean> {
    return this.#make(volume, epoch + 1, { state: 'free', takenFrom: from.name }, c);
  }

  /** Lets the volume go; nothing happens when this host does not have it. To be repeated when it fails. */
  async release(volume: string, c: Context): Promise<void> {
    this.drop(volume);
    const { epoch, lease } = await this.look(volume, c);
    this.#watch.forget(volume);
    if (lease === undefined || lease.state === 'free' || lease.host.id !== this.#parts.self.id) return;
    await this.files.replaceFile(leasePath(volume, epoch), writeLease({ ...lease, state: 'free' }), c);
  }

  /** Removes all that was ever said of the volume's lease. */
  async forget(volume: string, c: Context): Promise<void> {
    this.drop(volume);
    this.#watch.forget(volume);
    const { epochs } = await this.#round(c);
    // The greatest one last: until then none that is made anew is greater.
    const known = [...(epochs.get(volume) ?? [])].sort((a, b) => a - b);
    for (const epoch of known) await this.files.removeFile(leasePath(volume, epoch), c);
  }

  /** Says that the plugin is stopped, so that nobody takes what containers go on with. Leases are not kept alive any more. */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    this.#stopBeating?.();
    const held = [...this.#holds.values()];
    for (const { disarm } of held) disarm();
    if (!held.some(({ sure }) => sure)) return;
    const { log } = this.#parts;
    const c = newContext(log, ms);
    const told = this.#last.then(() => this.files.replaceFile(this.#beatPath, this.#sign(held, true), c));
    await noLongerThan(c, told).catch((error: unknown) => {
      const volumes = held.map(({ volume }) => volume);
      log.error('other hosts could not be told that this plugin stops: they take these volumes over after a while', {
        ...{ volumes, error: asPluginError(error) },
      });
    });
  }

  get #beatPath(): string {
    return beatPath(this.#parts.self.id);
  }

  async #make(volume: string, epoch: number, more: Pick<Lease, 'state' | 'takenFrom'>, c: Context): Promise<boolean> {
    const { self, times } = this.#parts;
    const lease: Lease = {
      ...{ host: self, token: randomUUID(), since: new Date().toISOString(), patienceMs: times.patienceMs },
      ...more,
    };
    return await this.files.createFile(leasePath(volume, epoch), writeLease(lease), c);
  }

  #sign(held: readonly Hold[], stopped: boolean): string {
    const holds = new Map(held.map(({ volume, epoch }) => [volume, epoch]));
    return writeBeat({ sign: randomUUID(), holds, stopped });
  }

  /** A round that begins after this call; whoever asks before it has begun gets the same. */
  #round(c: Context): Promise<Round> {
    if (this.#closed) throw new PluginError('NOT_READY', { reason: STOPPED });
    this.#next ??= this.#follow();
    return noLongerThan(c, this.#next);
  }

  /** One after the other: of two signs that are written at once the earlier one might stay. */
  #follow(): Promise<Round> {
    const { log, times, end } = this.#parts;
    const round = this.#last.then(() => {
      this.#next = undefined;
      const parent: Context = { requestId: 'lease', signal: end, deadline: Number.POSITIVE_INFINITY, log };
      const c = newContext(log, times.roundMs, parent);
      return noLongerThan(c, this.#show(c));
    });
    // Whoever waits for the round is told how it ended; the next one only waits for its end.
    this.#last = round.catch(() => undefined);
    return round;
  }

  async #show(c: Context): Promise<Round> {
    const { clock } = this.#parts;
    if (!this.#prepared) {
      await this.files.makeFolder(LEASES, { uid: 0, gid: 0, mode: 0o700 }, c);
      this.#prepared = true;
    }
    const held = [...this.#holds.values()];
    const began = clock.now();
    await this.files.replaceFile(this.#beatPath, this.#sign(held, false), c);
    const epochs = epochsOf(await this.files.names(LEASES, c));
    for (const hold of held) this.#settle(hold, began, epochs.get(hold.volume) ?? []);
    return { began, epochs };
  }

  /** After a sign of life that named it has come through. */
  #settle(hold: Hold, began: number, epochs: readonly number[]): void {
    const { clock, times } = this.#parts;
    if (this.#holds.get(hold.volume) !== hold) return;
    const greatest = Math.max(0, ...epochs);
    if (greatest > hold.epoch) {
      const how = 'this host was not heard of for too long, or an operator took it with drayage volume fence';
      this.#lose(hold, `another host may have it since (epoch ${greatest}): ${how}`);
    } else if (greatest < hold.epoch) this.#lose(hold, 'its lease was removed from the share');
    // Too late is too late, though it came through: others may have seen it stand still by then.
    else if (clock.now() > hold.until) this.#expire(hold);
    else {
      hold.until = began + times.patienceMs;
      this.#arm(hold);
    }
  }

  #arm(hold: Hold): void {
    const { clock } = this.#parts;
    hold.disarm();
    hold.disarm = clock.after(Math.max(0, hold.until - clock.now()), () => this.#expire(hold));
  }

  #expire(hold: Hold): void {
    const seconds = Math.round(this.#parts.times.patienceMs / 1000);
    this.#lose(hold, `its lease on the share could not be renewed for ${seconds} s`);
  }

  #lose(hold: Hold, reason: string): void {
    const { volume, sure } = hold;
    if (this.#holds.get(volume) !== hold) return;
    this.drop(volume);
    // What was not taken yet is nobody's loss.
    if (sure) this.#parts.onLost(volume, reason);
  }

  /** Keeps the lease alive no longer. */
  drop(volume: string): void {
    this.#holds.get(volume)?.disarm();
    this.#holds.delete(volume);
  }

  /** Keeps leases alive as long as there are any. */
  #beat(): void {
    if (this.#stopBeating !== undefined || this.#closed) return;
    const { clock, times, log } = this.#parts;
    const wait = (ms: number): void => {
      this.#stopBeating = clock.after(ms, () => void tick());
    };
    const tick = async (): Promise<void> => {
      if (this.#holds.size === 0 || this.#closed) {
        this.#stopBeating = undefined;
        return;
      }
      const began = clock.now();
      const c = newContext(log, 2 * times.roundMs);
      try {
        await this.#round(c);
        if (this.#failing) log.info('leases on a share can be renewed again');
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) log.warn('leases on a share cannot be renewed', { error: asPluginError(error) });
        this.#failing = true;
      }
      wait(this.#failing ? times.lookMs : Math.max(0, began + times.beatMs - clock.now()));
    };
    wait(times.beatMs);
  }

  /** Removes epochs that nobody goes by any more; what fails is removed with the next one. */
  #sweep(volume: string, epoch: number, epochs: readonly number[]): void {
    const { log, times } = this.#parts;
    const old = epochs.filter((one) => one <= epoch - KEPT);
    const c = newContext(log, times.roundMs);
    const remove = async (): Promise<void> => {
      for (const one of old) await this.files.removeFile(leasePath(volume, one), c);
    };
    remove().catch((error: unknown) => log.debug('old leases could not be removed', { volume, error }));
  }
}
