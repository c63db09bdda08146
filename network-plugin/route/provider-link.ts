import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError, type PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { RouteProvider } from './provider.ts';
import { noLongerThan } from './wait.ts';

export interface LinkDeps {
  readonly provider: RouteProvider;
  readonly log: Logger;
  readonly dryRun: boolean;
  readonly now: () => number;
  /** Ends everything in the background. */
  readonly end: AbortSignal;
  /** Reads the first view of a provider that has just begun to work. */
  readonly onStart: (c: Context) => Promise<void>;
}

/** Longest time for one attempt to bring the provider to work, in milliseconds. */
const ATTEMPT_MS = 15_000;
/** How long a call waits for an attempt that comes after one that has failed, in milliseconds. */
const IMPATIENT_MS = 500;
const STILL_STARTING = 'the first answer has not come yet';

/** Brings the provider to work, and knows whether it is. */
export class ProviderLink {
  readonly #deps: LinkDeps;
  #starting: Promise<void> | undefined;
  #started = false;
  #reachable = false;
  #since: number;
  #why: string | undefined = STILL_STARTING;
  /** What became of the last attempt. */
  #failure: PluginError | undefined;

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    this.#since = deps.now();
  }

  get started(): boolean {
    return this.#started;
  }

  /** It has come to work, and the last that was heard of it was good. */
  get reachable(): boolean {
    return this.#started && this.#reachable;
  }

  /** Epoch milliseconds of the last change of `reachable`. */
  get since(): number {
    return this.#since;
  }

  /** Why it is not reachable. */
  get why(): string | undefined {
    return this.#why;
  }

  /** Tries until it works or the end has come. */
  async bringUp(): Promise<void> {
    const { end } = this.#deps;
    for (let attempt = 1; !end.aborted; attempt += 1) {
      const c = this.context(ATTEMPT_MS);
      try {
        await this.ready(c);
        return;
      } catch (error) {
        if (end.aborted) return;
        this.set(false, asPluginError(error).message);
      }
      await sleep(100 + pauseMs(attempt), this.context(ATTEMPT_MS)).catch(() => undefined);
    }
  }

  /**
   * The provider is at work, or an error says why not; callers at the same time share the attempt. After one that has
   * failed nobody waits long for the next.
   */
  async ready(c: Context): Promise<void> {
    if (this.#started) return;
    this.#starting ??= this.#start(c).finally(() => {
      this.#starting = undefined;
    });
    const failure = this.#failure;
    const patience = failure === undefined ? c : newContext(c.log, IMPATIENT_MS, c);
    try {
      await noLongerThan(patience, this.#starting);
    } catch (error) {
      throw failure !== undefined && patience.signal.aborted ? failure : error;
    }
  }

  set(reachable: boolean, why?: string): void {
    const { provider, log, now } = this.#deps;
    const changed = this.#reachable !== reachable || this.#why !== why;
    if (!changed) return;
    if (this.#reachable !== reachable) this.#since = now();
    this.#reachable = reachable;
    this.#why = why;
    if (reachable) log.info('the route provider is at work', { provider: provider.name });
    else log.warn('the route provider is not at work; what is known stays in force', { provider: provider.name, why });
  }

  /** For work in the background. */
  context(ms: number): Context {
    const { log, end: signal } = this.#deps;
    return newContext(log, ms, { requestId: 'routes', signal, deadline: Number.POSITIVE_INFINITY, log });
  }

  async #start(c: Context): Promise<void> {
    const { provider, dryRun, onStart } = this.#deps;
    try {
      await provider.start(c);
      if (!dryRun) await provider.prepareHost?.(c);
      await onStart(c);
    } catch (error) {
      this.#failure = asPluginError(error);
      throw error;
    }
    this.#started = true;
    this.set(true);
  }
}
