import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { LeaseShare } from './lease-share.ts';
import type { LeaseParts } from './lease-signs.ts';
import { pauseOn } from './lease-times.ts';

/**
 * Volumes that an earlier life of this plugin has mounted: containers may use them, and nobody keeps their leases alive
 * until they are taken again.
 */
export class LeaseResuming {
  readonly #parts: LeaseParts;
  readonly #lose: (volume: string, reason: string) => void;
  readonly #pending = new Set<string>();

  constructor(parts: LeaseParts, lose: (volume: string, reason: string) => void) {
    this.#parts = parts;
    this.#lose = lose;
  }

  has(volume: string): boolean {
    return this.#pending.has(volume);
  }

  /** It is taken otherwise, or not used any more. */
  settle(volume: string): boolean {
    return this.#pending.delete(volume);
  }

  /** `alone` runs work while nobody else is at work with the volume's lease. */
  async run(
    volume: string,
    share: LeaseShare,
    alone: (work: (c: Context) => Promise<boolean>, c: Context) => Promise<boolean>,
  ): Promise<void> {
    const { clock, times, end, log } = this.#parts;
    this.#pending.add(volume);
    const disarm = clock.after(times.resumeMs, () => {
      if (!this.settle(volume)) return;
      share.drop(volume);
      this.#lose(volume, 'since the plugin was started its lease on the share could not be looked at');
    });
    while (this.has(volume) && !end.aborted) {
      try {
        const parent: Context = { requestId: 'lease', signal: end, deadline: Number.POSITIVE_INFINITY, log };
        const c = newContext(log, times.roundMs, parent);
        if (await alone((inner) => this.#takeAgain(volume, share, inner), c)) break;
      } catch (thrown) {
        if (this.has(volume) && !end.aborted) {
          log.warn('a mounted volume could not be taken again yet', { volume, error: asPluginError(thrown) });
        }
      }
      await pauseOn(clock, times.lookMs / 2, end);
    }
    disarm();
  }

  /** Answers whether it is settled who has the volume. */
  async #takeAgain(volume: string, share: LeaseShare, c: Context): Promise<boolean> {
    const { epoch, lease } = await share.look(volume, c);
    if (!this.has(volume)) return true;
    if (epoch > 0 && lease === undefined) return false;
    if (lease === undefined || lease.host.id === this.#parts.self.id) {
      // Anew, though the last one is ours: another host may have watched it stand still, and be about to make the next.
      if (!(await share.claim(volume, epoch + 1, c))) return false;
      // Its time was over meanwhile, and it was cut off.
      if (!this.settle(volume)) share.drop(volume);
      return true;
    }
    this.settle(volume);
    const how =
      lease.takenFrom === undefined ? `host ${lease.host.name} took it over from` : 'an operator took it from';
    this.#lose(volume, `${how} this host while its plugin did not run`);
    return true;
  }
}
