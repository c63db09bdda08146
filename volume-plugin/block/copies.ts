import { type Context, cancellable, newContext, noLongerThan } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';

/** A disk of some terabytes takes that long. */
const LONGEST_MS = 6 * 3_600_000;

interface Copy {
  readonly done: Promise<void>;
  cancel(): void;
}

/** Copying that goes on when the call that began it was answered; one at a time for each disk. */
export class Copies {
  readonly #underWay = new Map<string, Copy>();

  has(disk: string): boolean {
    return this.#underWay.has(disk);
  }

  /** Begins, unless it is under way already. What it fails with goes to the log: whoever looks sees what is not there. */
  begin(disk: string, log: Logger, work: (c: Context) => Promise<void>): void {
    if (this.#underWay.has(disk)) return;
    const { context, cancel } = cancellable(newContext(log, LONGEST_MS));
    const done = work(context)
      .catch((error: unknown) => log.warn('a disk could not be copied', { disk, error: asPluginError(error) }))
      .finally(() => this.#underWay.delete(disk));
    this.#underWay.set(disk, { done, cancel: () => cancel(new Error('the provider of disks is closed')) });
  }

  /** Waits until the disk is not being copied. Errors: the context's. */
  async ended(disk: string, c: Context): Promise<void> {
    const found = this.#underWay.get(disk);
    if (found !== undefined) await noLongerThan(c, found.done);
  }

  /** Ends all of it. */
  async close(): Promise<void> {
    const all = [...this.#underWay.values()];
    for (const { cancel } of all) cancel();
    await Promise.all(all.map(({ done }) => done));
  }
}
