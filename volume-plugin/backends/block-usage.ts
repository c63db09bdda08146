import { statfs } from 'node:fs/promises';
import { now } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';
import type { Logger } from '../../shared/log.ts';

/** After so long what is known is asked for again, in milliseconds; the answer is there for the next one who looks. */
const OLD_MS = 10_000;
/** A disk that does not answer in this time is not waited for. */
const PATIENCE_MS = 5_000;

export interface Usage {
  /** Bytes. */
  readonly used: number;
  readonly free: number;
}

/** How full mounted volumes are. Looking never waits for a disk. */
export class Usages {
  readonly #known = new Map<string, Usage & { readonly asked: number }>();
  readonly #asking = new Set<string>();

  /** What was last known of the file system at `target`; undefined: nothing yet. */
  at(target: string, log: Logger): Usage | undefined {
    const known = this.#known.get(target);
    if (known === undefined || now() - known.asked > OLD_MS) void this.look(target, log);
    return known;
  }

  /** Asks now. */
  async look(target: string, log: Logger): Promise<void> {
    if (this.#asking.has(target)) return;
    this.#asking.add(target);
    try {
      const { blocks, bfree, bavail, bsize } = await blocking(
        target,
        `asking how full ${target} is`,
        () => statfs(target),
        PATIENCE_MS,
      );
      this.#known.set(target, { used: (blocks - bfree) * bsize, free: bavail * bsize, asked: now() });
    } catch (error) {
      log.debug('it cannot be told how full a volume is', { target, error: asPluginError(error) });
    } finally {
      this.#asking.delete(target);
    }
  }

  forget(target: string): void {
    this.#known.delete(target);
  }
}
