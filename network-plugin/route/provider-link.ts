import { type Context, newContext, noLongerThan, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import { patienceOf } from '../../shared/unattended.ts';
import type { RouteProvider } from './provider.ts';
import { isBusy } from './refusals.ts';

export interface LinkDeps {
  readonly provider: Pick<RouteProvider, 'name'>;
  readonly log: Logger;
  readonly now: () => number;
  /** Ends everything in the background. */
  readonly end: AbortSignal;
  /** One attempt to bring the provider to work, up to its first view. */
  readonly start: (c: Context) => Promise<void>;
}

/**
 * Longest time of one attempt, in milliseconds. Where hundreds of hosts start at once a cloud gives each of them its turn
 * only minutes later; providers themselves give up much earlier on one that does not answer at all.
 */
const ATTEMPT_MS = 5 * 60_000;
/** How long a call waits for an attempt that comes after one that has failed, in milliseconds. */
const IMPATIENT_MS = 500;
/** Between attempts at a provider that is busy. */
const PAUSES = { firstMs: 1_000, longestMs: 10_000 };
const STILL_STARTING = 'the first answer has not come yet';

/** Brings the provider to work, and knows whether it is. */
export class ProviderLink {
  readonly #deps: LinkDeps;
  #starting: Promise<void> | undefined;
  #started = false;
  #reachable = false;
  #since: number;
  #why: string | undefined = STILL_STARTING;
  /** When the attempt that is under way was begun, and why it takes long. */
  #begun: number;
  #busy: PluginError | undefined;
  /** What became of the last attempt that failed. */
  #failure: PluginError | undefined;

  constructor(deps: LinkDeps) {
    this.#deps = deps;
    this.#since = deps.now();
    this.#begun = this.#since;
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
      try {
        await this.#attempt();
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
   * failed nobody waits long for the next; one that is only throttled or slow goes on without the caller
   * (STILL_WORKING), and the next call joins it.
   */
  async ready(c: Context): Promise<void> {
    for (let done = this.#started; !done; ) done = await this.#joined(c);
  }

  /** Waits for the attempt that is under way. False when it has become another matter meanwhile. */
  async #joined(c: Context): Promise<boolean> {
    const failure = this.#failure;
    const patience = newContext(c.log, failure === undefined ? patienceOf(c) : IMPATIENT_MS, c);
    try {
      await noLongerThan(patience, this.#attempt());
      return true;
    } catch (error) {
      if (c.signal.aborted || !patience.signal.aborted) throw error;
    }
    if (failure === undefined) throw this.#stillStarting();
    if (failure === this.#failure) throw failure;
    return this.#started;
  }

  #stillStarting(): PluginError {
    const { provider, now } = this.#deps;
    const what = `bringing the route provider ${provider.name} to work`;
    const seconds = Math.round((now() - this.#begun) / 100) / 10;
    return new PluginError('STILL_WORKING', { what, seconds, reason: this.#busy?.message });
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

  #attempt(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  /** Until it works or fails for good: being told to come back later is neither. */
  async #start(): Promise<void> {
    const { start, now, end } = this.#deps;
    this.#begun = now();
    this.#busy = undefined;
    const c = this.context(ATTEMPT_MS);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await start(c);
        break;
      } catch (error) {
        if (end.aborted) throw end.reason;
        const failure = asPluginError(error);
        if (c.signal.aborted || !isBusy(failure)) throw this.#fail(failure);
        this.#busy = failure;
        // It answers again: what was wrong before is not so any more.
        if (failure.code === 'PROVIDER_THROTTLED' && !isBusy(this.#failure)) this.#failure = undefined;
        this.set(false, failure.message);
        await sleep(pauseMs(attempt, PAUSES), c).catch(() => Promise.reject(this.#fail(failure)));
      }
    }
    this.#failure = undefined;
    this.#started = true;
    this.set(true);
  }

  /** What calls are told from now on. */
  #fail(failure: PluginError): PluginError {
    const { provider } = this.#deps;
    const late = `it has not come to work within ${ATTEMPT_MS / 1000} s`;
    this.#failure =
      failure.code === 'DEADLINE'
        ? (this.#busy ?? new PluginError('PROVIDER_UNREACHABLE', { provider: provider.name, reason: late }))
        : failure;
    return this.#failure;
  }
}
