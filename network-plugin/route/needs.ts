import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { RouteProvider } from './provider.ts';

export interface HostNeedDeps {
  readonly provider: RouteProvider;
  readonly log: Logger;
  readonly dryRun: boolean;
  readonly now: () => number;
}

/** Routine passes look so often, in milliseconds: each look is a call of its own. */
const CHECK_MS = 5 * 60_000;

/**
 * What this host needs of its cloud beside routes, such as no source/dest check on its interface: put right before the
 * first claim, and looked at again from time to time, for somebody may undo it.
 */
export class HostNeeds {
  readonly #deps: HostNeedDeps;
  #looked = Number.NEGATIVE_INFINITY;

  constructor(deps: HostNeedDeps) {
    this.#deps = deps;
  }

  /** With the provider's start. A dry run leaves it to the passes, which only look. Errors: those of `prepareHost`. */
  async prepare(c: Context): Promise<void> {
    const { provider, log, dryRun, now } = this.#deps;
    if (dryRun || provider.prepareHost === undefined) return;
    for (const { what } of await provider.prepareHost(true, c)) log.info('this host was made ready', { what });
    this.#looked = now();
  }

  /** One look of a pass; a `routine` one is left out while the last is young. Never rejects. */
  async check(repair: boolean, routine: boolean, c: Context): Promise<readonly Drift[]> {
    const { provider, dryRun, now } = this.#deps;
    if (provider.prepareHost === undefined || (routine && now() - this.#looked < CHECK_MS)) return [];
    this.#looked = now();
    try {
      return await provider.prepareHost(repair && !dryRun, c);
    } catch (error) {
      const why = asPluginError(error).message;
      return [{ what: `what this host needs of ${provider.name} could not be looked at: ${why}`, repaired: false }];
    }
  }
}
