import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { LEASE_TIMES, type LeaseTimes } from '../nfs/lease-times.ts';
import { type LeasedShare, type LeaseHolder, Leases } from '../nfs/leases.ts';
import type { EarlierMount } from './backend.ts';

/** What back-ends whose volumes many hosts see know of their own. */
export interface HostParts {
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** A volume that is mounted here does not belong to this host any more; its containers are being ended. */
  readonly onLost: (volume: string) => void;
  /** Ends with the plugin. */
  readonly life: Context;
}

export interface WritersParts extends HostParts {
  readonly times?: LeaseTimes;
  /** Keeps whoever uses a mount from writing to it, at once and for good. */
  readonly kill: (mount: EarlierMount, c: Context) => Promise<unknown>;
}

/** For the containers of a volume that is lost. */
const CUT_OFF_MS = 30_000;
const RETRY_MS = 1_000;

/**
 * Volumes that one host has at a time. Who loses one is cut off: a server of NFS goes on
 * to take what its containers write, and a mount cannot be made read-only while a file is open for writing.
 */
export class Writers {
  readonly #parts: WritersParts;
  readonly #times: LeaseTimes;
  readonly #leases: Leases;
  /** What containers may use. */
  readonly #mounts = new Map<string, EarlierMount>();
  /** Why volumes are lost whose leases could not even be looked at. */
  readonly #unseen = new Map<string, string>();

  constructor(parts: WritersParts) {
    const { host, life, times = LEASE_TIMES } = parts;
    this.#parts = parts;
    this.#times = times;
    this.#leases = new Leases({
      ...{ self: host, log: life.log, times },
      onLost: (volume, reason) => this.#lose(volume, reason),
    });
  }

  /** Before it is mounted. Errors: VOLUME_BUSY and those of `Leases.take`. */
  async take(volume: string, on: LeasedShare, c: Context): Promise<number> {
    const { epoch } = await this.#leases.take(volume, on, c);
    this.#unseen.delete(volume);
    return epoch;
  }

  /** After it was mounted. Errors: VOLUME_LOST. */
  mounted(volume: string, mount: EarlierMount): void {
    this.#mounts.set(volume, mount);
    const reason = this.lost(volume);
    if (reason !== undefined) throw new PluginError('VOLUME_LOST', { volume, reason });
  }

  /**
   * Looks after a volume that an earlier life of the plugin has mounted. `reach`: mounts its share, which may take a while;
   * when it takes too long the volume is lost, as other hosts take it then.
   */
  async resume(volume: string, mount: EarlierMount, reach: (c: Context) => Promise<LeasedShare>): Promise<void> {
    const { life } = this.#parts;
    this.#mounts.set(volume, mount);
    const c = newContext(life.log, this.#times.resumeMs, life);
    while (!life.signal.aborted && this.#mounts.get(volume) === mount) {
      try {
        this.#leases.resume(volume, await reach(c));
        return;
      } catch (thrown) {
        if (!life.signal.aborted) {
          life.log.warn('the share of a mounted volume cannot be reached', { volume, error: asPluginError(thrown) });
        }
      }
      if (c.signal.aborted && !life.signal.aborted) {
        const reason = 'since the plugin was started its share could not be reached';
        this.#unseen.set(volume, reason);
        this.#lose(volume, reason);
        return;
      }
      await sleep(RETRY_MS, c).catch(() => undefined);
    }
  }

  /** After it was unmounted here. Errors: those of ShareFiles. */
  async release(volume: string, on: LeasedShare, c: Context): Promise<void> {
    await this.#leases.release(volume, on, c);
    this.#mounts.delete(volume);
    this.#unseen.delete(volume);
  }

  async fence(volume: string, host: string, on: LeasedShare, c: Context): Promise<void> {
    await this.#leases.fence(volume, host, on, c);
  }

  /** Removes a volume while no other host can have it. Errors: VOLUME_BUSY, and those of the work. */
  async alone<T>(volume: string, on: LeasedShare, remove: () => Promise<T>, c: Context): Promise<T> {
    await this.#leases.take(volume, on, c);
    try {
      const result = await remove();
      await this.#leases.forget(volume, on, c);
      return result;
    } catch (error) {
      await this.#leases.release(volume, on, c).catch((failure: unknown) => {
        c.log.warn('the lease of a volume that could not be removed stays', { volume, error: asPluginError(failure) });
      });
      throw error;
    }
  }

  lost(volume: string): string | undefined {
    return this.#leases.lost(volume) ?? this.#unseen.get(volume);
  }

  holder(volume: string): LeaseHolder | undefined {
    return this.#leases.holder(volume);
  }

  progress(volume: string): string | undefined {
    return this.#leases.progress(volume);
  }

  /** Ends whoever uses what is mounted at `target`. Errors: the context's. */
  async cutOff(target: string, c: Context): Promise<void> {
    const mount = [...this.#mounts.values()].find((one) => one.target === target);
    if (mount !== undefined) await this.#end(mount, c);
  }

  close(): Promise<void> {
    return this.#leases.close();
  }

  #lose(volume: string, reason: string): void {
    const { life, onLost } = this.#parts;
    const mount = this.#mounts.get(volume);
    life.log.error('this host has lost a volume; what uses it is ended', { volume, reason });
    if (mount !== undefined) {
      this.#end(mount, newContext(life.log, CUT_OFF_MS, life)).catch((error: unknown) => {
        life.log.error('a lost volume can still be written to here: stop its containers', { volume, error });
      });
    }
    onLost(volume);
  }

  async #end(mount: EarlierMount, c: Context): Promise<void> {
    await this.#parts.kill(mount, c);
  }
}
