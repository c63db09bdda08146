import { type Context, cancellable, newContext, now, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { type MountEntry, mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { killMountUsers } from '../../shared/kernel/mount-users.ts';
import { LEASE_TIMES, type LeaseTimes } from '../nfs/lease-times.ts';
import { type LeaseHolder, Leases } from '../nfs/leases.ts';
import type { MountedShare } from '../nfs/mounted-share.ts';

export interface WritersParts {
  readonly host: { readonly id: string; readonly name: string };
  /** A volume that is mounted here does not belong to this host any more; its containers are being ended. */
  readonly onLost: (volume: string) => void;
  readonly times?: LeaseTimes;
  /** For tests: instead of killing who uses a mount. */
  readonly kill?: (mount: MountEntry, c: Context) => Promise<number>;
}

/** For the containers of a volume that is lost. */
const CUT_OFF_MS = 30_000;
const RETRY_MS = 1_000;

/** Of NFS the source of a mount names the folder; that of other file systems would not tell volumes from the host. */
const killUsers = ({ type, device, source, target }: MountEntry, c: Context): Promise<number> => {
  if (!type.startsWith('nfs')) throw new Error(`what is mounted at ${target} is no share`);
  return killMountUsers({ device, within: source }, c);
};

/**
 * Volumes that one host has at a time. Who loses one is cut off: its containers' processes are killed, for a server of NFS
 * goes on to take what they write, and a mount cannot be made read-only while a file is open for writing.
 */
export class NfsWriters {
  readonly #parts: WritersParts;
  readonly #times: LeaseTimes;
  readonly #targets = new Map<string, string>();
  /** Why volumes are lost whose leases could not even be looked at. */
  readonly #unseen = new Map<string, string>();
  #leases: Leases | undefined;
  #life: Context | undefined;

  constructor(parts: WritersParts) {
    this.#parts = parts;
    this.#times = parts.times ?? LEASE_TIMES;
  }

  /** `life` ends with the plugin. */
  start(life: Context): void {
    this.#life = life;
    this.#leases ??= new Leases({
      ...{ self: this.#parts.host, log: life.log, times: this.#times },
      onLost: (volume, reason) => this.#lose(volume, reason),
    });
  }

  /** Before it is mounted at `target`. Errors: VOLUME_BUSY and those of `Leases.take`. */
  async take(volume: string, on: MountedShare, target: string, c: Context): Promise<number> {
    const { epoch } = await this.#working().take(volume, on, c);
    this.#unseen.delete(volume);
    this.#targets.set(volume, target);
    return epoch;
  }

  /** After it was mounted. Errors: VOLUME_LOST. */
  confirm(volume: string): void {
    const reason = this.lost(volume);
    if (reason !== undefined) throw new PluginError('VOLUME_LOST', { volume, reason });
  }

  /**
   * Looks after a volume that an earlier life of the plugin has mounted. `mount`: its share, which may take a while; when it
   * takes too long the volume is lost, as other hosts take it then.
   */
  async resume(volume: string, target: string, mount: (c: Context) => Promise<MountedShare>): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#targets.set(volume, target);
    const { context: c, cancel } = cancellable(newContext(life.log, this.#times.resumeMs, life));
    const until = now() + this.#times.resumeMs;
    while (!life.signal.aborted && this.#targets.has(volume)) {
      try {
        this.#working().resume(volume, await mount(c));
        break;
      } catch (thrown) {
        life.log.warn('the share of a mounted volume cannot be reached', { volume, error: asPluginError(thrown) });
      }
      if (now() >= until) {
        this.#unseen.set(volume, 'since the plugin was started its share could not be reached');
        this.#lose(volume, this.#unseen.get(volume) ?? '');
        break;
      }
      await sleep(RETRY_MS, c).catch(() => undefined);
    }
    cancel(new Error('done'));
  }

  /** After it was unmounted here. Errors: those of ShareFiles. */
  async release(volume: string, on: MountedShare, c: Context): Promise<void> {
    await this.#working().release(volume, on, c);
    this.#targets.delete(volume);
    this.#unseen.delete(volume);
  }

  async fence(volume: string, host: string, on: MountedShare, c: Context): Promise<void> {
    await this.#working().fence(volume, host, on, c);
  }

  /** Removes a volume while no other host can have it. Errors: VOLUME_BUSY, and those of the work. */
  async alone<T>(volume: string, on: MountedShare, remove: () => Promise<T>, c: Context): Promise<T> {
    const leases = this.#working();
    await leases.take(volume, on, c);
    try {
      const result = await remove();
      await leases.forget(volume, on, c);
      return result;
    } catch (error) {
      await leases.release(volume, on, c).catch((failure: unknown) => {
        c.log.warn('the lease of a volume that could not be removed stays', { volume, error: asPluginError(failure) });
      });
      throw error;
    }
  }

  lost(volume: string): string | undefined {
    return this.#leases?.lost(volume) ?? this.#unseen.get(volume);
  }

  holder(volume: string): LeaseHolder | undefined {
    return this.#leases?.holder(volume);
  }

  progress(volume: string): string | undefined {
    return this.#leases?.progress(volume);
  }

  /** Ends whoever uses what is mounted at `target`. Errors: the context's. */
  async cutOff(target: string, c: Context): Promise<void> {
    const mount = mountAt(readMountTable(), target);
    if (mount === undefined) return;
    const killed = await (this.#parts.kill ?? killUsers)(mount, c);
    c.log.warn('what used a lost volume was ended', { target, processes: killed });
  }

  async close(): Promise<void> {
    await this.#leases?.close();
  }

  #lose(volume: string, reason: string): void {
    const target = this.#targets.get(volume);
    const life = this.#life;
    if (life === undefined) return;
    life.log.error('this host has lost a volume; what uses it is ended', { volume, reason });
    if (target !== undefined) {
      this.cutOff(target, newContext(life.log, CUT_OFF_MS, life)).catch((error: unknown) => {
        life.log.error('a lost volume can still be written to here: stop its containers', { volume, error });
      });
    }
    this.#parts.onLost(volume);
  }

  #working(): Leases {
    if (this.#leases === undefined)
      throw new PluginError('NOT_READY', { reason: 'volumes of type nfs are not ready yet' });
    return this.#leases;
  }
}
