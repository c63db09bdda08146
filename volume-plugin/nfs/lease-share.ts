import { randomUUID } from 'node:crypto';
import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { LEASES, type Lease, type LeaseHost, leasePath, readBeat, readLease, writeLease } from './lease-files.ts';
import { type LeaseParts, LeaseSigns, type Round } from './lease-signs.ts';
import { LeaseWatch, type Watched } from './lease-watch.ts';
import type { RecordFiles } from './share-files.ts';

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

/** The greatest epoch of a volume, as a look has shown it. */
export interface SeenLease extends Watched {
  /** 0: there is none. */
  readonly epoch: number;
  /** Undefined with an epoch: it cannot be read by this version, or was removed meanwhile. */
  readonly lease?: Lease;
  /** Its host's plugin was stopped while containers had the volume. */
  readonly stopped: boolean;
}

/** Epochs that are kept, the last among them: whoever sees an old list of names makes one that is there, and is refused. */
const KEPT = 3;

/** The leases on one share. */
export class LeaseShare {
  readonly #parts: LeaseParts;
  readonly #onLost: (volume: string, reason: string) => void;
  readonly #signs: LeaseSigns;
  readonly #watch: LeaseWatch;
  readonly #holds = new Map<string, Hold>();
  #stopBeating: (() => void) | undefined;
  #failing = false;

  /** `onLost`: a volume that this host had belongs to it no more. */
  constructor(parts: LeaseParts, share: string, files: RecordFiles, onLost: (volume: string, reason: string) => void) {
    this.#parts = parts;
    this.#onLost = onLost;
    this.#watch = new LeaseWatch(parts.times.gapMs);
    this.#signs = new LeaseSigns(parts, share, files, () => {
      const held = [...this.#holds.values()];
      const told = (round: Round): void => {
        for (const hold of held) this.#settle(hold, round);
      };
      return { holds: epochsByVolume(held), told };
    });
  }

  /** From now on files are reached so. */
  use(files: RecordFiles): void {
    this.#signs.files = files;
  }

  /** The epoch that this host has of a volume. */
  held(volume: string): number | undefined {
    const hold = this.#holds.get(volume);
    return hold?.sure ? hold.epoch : undefined;
  }

  /** Looks at the volume's lease. Errors: those of RecordFiles. */
  async look(volume: string, c: Context): Promise<SeenLease> {
    const { began, epochs } = await this.#signs.round(c);
    const epoch = Math.max(0, ...(epochs.get(volume) ?? []));
    const content = epoch === 0 ? undefined : await this.#files.readFile(leasePath(volume, epoch), c);
    const lease = content === undefined ? undefined : readLease(content);
    if (lease === undefined) return { epoch, stillMs: 0, moved: false, stopped: false };
    const beat = readBeat((await this.#files.readFile(`${LEASES}/${lease.beat}`, c)) ?? '');
    // One that lives and does not know of this lease does not keep it.
    const mine = beat?.holds.get(volume) === epoch ? beat : undefined;
    const look = { token: lease.token, sign: mine?.sign ?? '', began, ended: this.#parts.clock.now() };
    return { ...this.#watch.see(volume, look), epoch, lease, stopped: mine?.stopped ?? false };
  }

  /**
   * Takes the volume by making an epoch of its lease, and keeps the lease alive from now on. False: another host has made
   * it, or a later one.
   */
  async claim(volume: string, epoch: number, c: Context): Promise<boolean> {
    this.#signs.mustBeOpen();
    const until = this.#parts.clock.now() + this.#parts.times.patienceMs;
    if (!(await this.#make(volume, epoch, { state: 'held' }, c))) return false;
    this.drop(volume);
    const hold: Hold = { volume, epoch, sure: false, until, disarm: () => undefined };
    this.#holds.set(volume, hold);
    this.#arm(hold);
    try {
      // With it goes the first sign of life that names this lease.
      const { epochs } = await this.#signs.round(c);
      if (this.#holds.get(volume) !== hold) return false;
      hold.sure = true;
      this.#beat();
      this.#sweep(volume, epoch, epochs.get(volume) ?? []);
      return true;
    } catch (error) {
      // Nobody keeps it alive then: this host makes the next one at once, another one when it has stood still.
      if (this.#holds.get(volume) === hold) this.drop(volume);
      throw error;
    }
  }

  /** Says that nobody has the volume, in the place of who has it. False: something has changed meanwhile. */
  takeAway(volume: string, epoch: number, from: LeaseHost, c: Context): Promise<boolean> {
    return this.#make(volume, epoch + 1, { state: 'free', takenFrom: from.name }, c);
  }

  /** Lets the volume go; nothing happens when this host does not have it. To be repeated when it fails. */
  async release(volume: string, c: Context): Promise<void> {
    this.drop(volume);
    const { epoch, lease } = await this.look(volume, c);
    this.#watch.forget(volume);
    if (lease === undefined || lease.state === 'free' || lease.host.id !== this.#parts.self.id) return;
    await this.#files.replaceFile(leasePath(volume, epoch), writeLease({ ...lease, state: 'free' }), c);
  }

  /** Removes all that was ever said of the volume's lease. */
  async forget(volume: string, c: Context): Promise<void> {
    this.drop(volume);
    this.#watch.forget(volume);
    const { epochs } = await this.#signs.round(c);
    // The greatest one last: until then none that is made is greater.
    const known = [...(epochs.get(volume) ?? [])].sort((a, b) => a - b);
    for (const epoch of known) await this.#files.removeFile(leasePath(volume, epoch), c);
  }

  /** Keeps the lease alive no longer. */
  drop(volume: string): void {
    this.#holds.get(volume)?.disarm();
    this.#holds.delete(volume);
  }

  /** Says that the plugin is stopped, so that nobody takes what containers go on with. Nothing is kept alive any more. */
  async close(ms: number): Promise<void> {
    this.#stopBeating?.();
    const held = [...this.#holds.values()];
    for (const { disarm } of held) disarm();
    const { log } = this.#parts;
    const holds = epochsByVolume(held.filter(({ sure }) => sure));
    await this.#signs.close(holds, newContext(log, ms)).catch((error: unknown) => {
      log.error('other hosts could not be told that this plugin stops: they take these volumes over after a while', {
        ...{ volumes: [...holds.keys()], error: asPluginError(error) },
      });
    });
  }

  get #files(): RecordFiles {
    return this.#signs.files;
  }

  async #make(volume: string, epoch: number, more: Pick<Lease, 'state' | 'takenFrom'>, c: Context): Promise<boolean> {
    const { self, times } = this.#parts;
    const lease: Lease = {
      ...{ host: { id: self.id, name: self.name }, beat: this.#signs.file, token: randomUUID() },
      ...{ since: new Date().toISOString(), patienceMs: times.patienceMs },
      ...more,
    };
    return await this.#files.createFile(leasePath(volume, epoch), writeLease(lease), c);
  }

  /** After a sign of life that named it has come through. */
  #settle(hold: Hold, { began, epochs }: Round): void {
    const { clock, times } = this.#parts;
    const greatest = Math.max(0, ...(epochs.get(hold.volume) ?? []));
    if (greatest > hold.epoch) {
      const how = 'this one was not heard of for too long, or an operator took it with drayage volume fence';
      this.#lose(hold, `another host may have it (epoch ${greatest}): ${how}`);
    } else if (greatest < hold.epoch) this.#lose(hold, 'its lease was removed from the share');
    // Too late is too late, though it came through: others may have seen it stand still by then.
    else if (clock.now() > hold.until) this.#expire(hold);
    else if (this.#holds.get(hold.volume) === hold) {
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
    if (sure) this.#onLost(volume, reason);
  }

  /** Keeps leases alive as long as there are any. */
  #beat(): void {
    if (this.#stopBeating !== undefined) return;
    const { clock, times, log, end } = this.#parts;
    const wait = (ms: number): void => {
      this.#stopBeating = clock.after(ms, () => void tick());
    };
    const tick = async (): Promise<void> => {
      if (this.#holds.size === 0 || end.aborted) {
        this.#stopBeating = undefined;
        return;
      }
      const began = clock.now();
      try {
        await this.#signs.round(newContext(log, 2 * times.roundMs));
        if (this.#failing) log.info('leases of volumes can be renewed again');
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) log.warn('leases of volumes cannot be renewed', { error: asPluginError(error) });
        this.#failing = true;
      }
      wait(this.#failing ? times.lookMs : Math.max(0, began + times.beatMs - clock.now()));
    };
    wait(times.beatMs);
  }

  /** Removes epochs that nobody goes by any more; what fails is removed with the next one. */
  #sweep(volume: string, epoch: number, epochs: readonly number[]): void {
    const { log, times } = this.#parts;
    const c = newContext(log, times.roundMs);
    const remove = async (): Promise<void> => {
      for (const one of epochs) if (one <= epoch - KEPT) await this.#files.removeFile(leasePath(volume, one), c);
    };
    remove().catch((error: unknown) => log.debug('old leases could not be removed', { volume, error }));
  }
}

const epochsByVolume = (holds: readonly Hold[]): ReadonlyMap<string, number> =>
  new Map(holds.map(({ volume, epoch }) => [volume, epoch]));
