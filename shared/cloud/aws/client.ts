import { type Context, newContext, now, sleep, throwIfDone } from '../../context.ts';
import { PluginError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { pauseMs, withRetry } from '../../retry.ts';
import { ClockSkew } from '../clock.ts';
import { type Rate, RateLimits } from '../token-bucket.ts';
import type { Credentials } from './credentials.ts';
import {
  type Circumstances,
  classify,
  Ec2Error,
  type Ec2ErrorKind,
  ROUTE_ERROR_KINDS,
  SHARE_ERROR_KINDS,
  toPluginError,
  VOLUME_ERROR_KINDS,
} from './errors.ts';
import type { AccessKey, ActionOf, CallTable, Wire } from './model.ts';
import type { SdkOptions } from './sdk-config.ts';

/** A group of calls, and what it takes to make them. */
export interface Dialect<C extends CallTable<C>> {
  /** How the name of its public endpoint begins; `ec2` when absent. */
  readonly service?: string;
  /** The permission of each, as IAM writes it. */
  readonly permissions: { readonly [A in keyof C]: { readonly action: string } };
  /** What EC2's codes mean for these calls, where that is not what they mean for all. */
  readonly kindOf?: (code: string, message: string) => Ec2ErrorKind | undefined;
  /** Calls that make another thing when they are repeated: whether they were done must be looked up. */
  readonly once?: readonly (keyof C)[];
  /** Loads the vendor's client for them. */
  open(options: SdkOptions): Promise<Wire<C>>;
}

export interface Ec2Options<C extends CallTable<C>> {
  readonly region: string;
  /** Instead of the region's public endpoint. */
  readonly endpoint?: string;
  readonly credentials: Pick<Credentials, 'get' | 'refused' | 'source'>;
  readonly log: Logger;
  /** Longest wait for one answer, in milliseconds. */
  readonly attemptMs?: number;
  /** How often each API may be called; a part of what an account may by default. */
  readonly rateOf?: (api: string) => Rate;
  /** For tests: instead of the vendor's client. */
  readonly open?: () => Promise<Wire<C>>;
}

/** What only the caller can put into words. */
const REFUSALS: ReadonlySet<Ec2ErrorKind> = new Set([
  ...ROUTE_ERROR_KINDS,
  ...VOLUME_ERROR_KINDS,
  ...SHARE_ERROR_KINDS,
]);

/**
 * An account's limits are shared by all its hosts (for each API 50 at once and 5 a second that change something, 100
 * and 20 that describe): one host takes no more than a part of them.
 */
const shareOf = (api: string): Rate => {
  if (api.startsWith('Describe')) return { burst: 30, perSecond: 10 };
  return api === 'GetServiceQuota' ? { burst: 2, perSecond: 1 } : { burst: 20, perSecond: 5 };
};

const ATTEMPT_MS = 6_000;
const CONNECT_MS = 2_000;
/** When nobody answers, more tries only keep the user waiting; when EC2 is busy, they help. */
const TRIES = { unreachable: 3, unavailable: 6 } as const satisfies Partial<Record<Ec2ErrorKind, number>>;
const PAUSES = { firstMs: 500, longestMs: 6_000 };

/** How often something happened, for a status. */
export interface Ec2Counts {
  calls: number;
  throttled: number;
  retries: number;
}

/**
 * EC2's calls, each under the deadline of its context: keys renewed, rate limited, repeated with jitter when EC2 is
 * busy. The vendor's client is loaded with the first call.
 */
export class Ec2Client<C extends CallTable<C>> {
  readonly region: string;
  readonly endpoint: string;
  readonly clock = new ClockSkew();
  readonly counts: Ec2Counts = { calls: 0, throttled: 0, retries: 0 };
  readonly #options: Ec2Options<C>;
  readonly #dialect: Dialect<C>;
  readonly #limits: RateLimits;
  #wire: Promise<Wire<C>> | undefined;

  constructor(dialect: Dialect<C>, options: Ec2Options<C>) {
    this.#dialect = dialect;
    this.region = options.region;
    this.endpoint = options.endpoint ?? `${dialect.service ?? 'ec2'}.${options.region}`;
    this.#options = options;
    this.#limits = new RateLimits('aws', options.rateOf ?? shareOf);
  }

  /**
   * Errors: an Ec2Error of the kinds of RouteErrorKind, VolumeErrorKind or ShareErrorKind; PROVIDER_AUTH,
   * PROVIDER_PERMISSION, PROVIDER_THROTTLED, PROVIDER_REFUSED, DEADLINE; PROVIDER_UNREACHABLE, and then whether it was
   * done is not known.
   */
  async call<A extends ActionOf<C>>(action: A, input: C[A]['input'], c: Context): Promise<C[A]['output']> {
    // A failure that is not worth another try leaves the loop as a value.
    const outcome = await withRetry<{ readonly done: C[A]['output'] } | { readonly failed: unknown }>(
      c,
      async (attempt) => {
        try {
          if (attempt > 1) this.counts.retries += 1;
          return { done: await this.#unthrottled(action, input, c) };
        } catch (error) {
          if (!(error instanceof Ec2Error)) {
            // Keys that could not be had are asked for again; without a turn in the queue there is no use in it.
            const isUnreachable = error instanceof PluginError && error.code === 'PROVIDER_UNREACHABLE';
            if (isUnreachable && attempt < TRIES.unreachable) throw error;
            return { failed: error };
          }
          if (REFUSALS.has(error.kind)) return { failed: error };
          const told = toPluginError(error, this.#around(action));
          const isOpen = error.kind === 'unreachable' || error.kind === 'unavailable';
          const isOnce = this.#dialect.once?.includes(action) === true;
          const tries = isOpen ? (isOnce ? 1 : TRIES[error.kind]) : undefined;
          if (attempt >= (tries ?? Number.POSITIVE_INFINITY)) return { failed: told };
          throw told;
        }
      },
      PAUSES,
    );
    if ('failed' in outcome) throw outcome.failed;
    return outcome.done;
  }

  /** Would the call be allowed? Nothing is done. Resolves to why not. Errors: all but PROVIDER_PERMISSION. */
  async dryRun<A extends ActionOf<C>>(action: A, input: C[A]['input'], c: Context): Promise<PluginError | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#attempt(action, input, c, true);
        return undefined;
      } catch (error) {
        if (!(error instanceof Ec2Error)) throw error;
        // Permissions are looked at first: whatever else is wrong with the input, the call is allowed.
        if (error.kind === 'dry-run' || error.kind === 'refused' || REFUSALS.has(error.kind)) return undefined;
        const told = toPluginError(error, this.#around(action));
        if (error.kind === 'permission') return told;
        if (told.retry !== 'backoff' || attempt >= 3) throw told;
        await sleep(pauseMs(attempt, PAUSES), c);
      }
    }
  }

  close(): void {
    // If it could not be loaded there is nothing to close.
    void this.#wire?.then(
      (wire) => wire.close(),
      () => undefined,
    );
  }

  /** Until EC2 does not find that it is too much: each attempt waits for its turn, and those come less often by then. */
  async #unthrottled<A extends ActionOf<C>>(action: A, input: C[A]['input'], c: Context): Promise<C[A]['output']> {
    for (let last: PluginError | undefined; ; ) {
      try {
        return await this.#attempt(action, input, c);
      } catch (error) {
        // What EC2 said is more to the point than that its next turn would come too late.
        if (last !== undefined && error instanceof PluginError && error.code === 'PROVIDER_THROTTLED') throw last;
        if (!(error instanceof Ec2Error) || error.kind !== 'throttled') throw error;
        last = toPluginError(error, this.#around(action));
        this.counts.retries += 1;
      }
    }
  }

  /** Calls like this were refused for their number a short time ago: what can do without one should. */
  isPressed(action: ActionOf<C>): boolean {
    return this.#limits.isPressed(action);
  }

  /** One attempt, and another one at once where the keys or the clock were the matter and are better now. */
  async #attempt<A extends ActionOf<C>>(
    action: A,
    input: C[A]['input'],
    c: Context,
    dryRun = false,
  ): Promise<C[A]['output']> {
    const { credentials } = this.#options;
    const key = await credentials.get(c);
    try {
      return await this.#send(action, input, key, c, dryRun);
    } catch (error) {
      if (!(error instanceof Ec2Error) || (error.kind !== 'expired' && error.kind !== 'credentials')) throw error;
      if (!error.clockCorrected && !(await credentials.refused(key, c))) throw error;
      c.log.info('asking EC2 again', { action, why: error.code, clock: this.clock.text });
      return await this.#send(action, input, await credentials.get(c), c, dryRun);
    }
  }

  async #send<A extends ActionOf<C>>(
    action: A,
    input: C[A]['input'],
    key: AccessKey,
    c: Context,
    dryRun: boolean,
  ): Promise<C[A]['output']> {
    const wire = await this.#opened();
    await this.#limits.take(action, c);
    const { attemptMs = ATTEMPT_MS, log } = this.#options;
    const attempt = newContext(log, attemptMs, c);
    const sentAt = now();
    this.counts.calls += 1;
    try {
      const answer = await wire.send(action, input, key, { signal: attempt.signal, dryRun });
      this.#limits.accepted(action);
      return answer;
    } catch (thrown) {
      throwIfDone(c);
      if (attempt.signal.aborted) {
        throw new Ec2Error(action, 'unreachable', `no answer within ${attemptMs / 1000} s`, 'the reply did not come');
      }
      const error = classify(action, thrown, this.#dialect.kindOf);
      if (error.kind === 'throttled') {
        this.counts.throttled += 1;
        this.#limits.refused(action, sentAt);
      } else if (error.kind !== 'unreachable' && error.kind !== 'unavailable') this.#limits.accepted(action);
      throw error;
    }
  }

  #around(action: ActionOf<C>): Circumstances {
    const { ms, text } = this.clock;
    return {
      permission: this.#dialect.permissions[action].action,
      endpoint: this.endpoint,
      region: this.region,
      source: this.#options.credentials.source,
      ...(ms !== undefined && text !== undefined && { skew: { ms, text } }),
    };
  }

  #opened(): Promise<Wire<C>> {
    this.#wire ??= (this.#options.open ?? (() => this.#openSdk()))();
    return this.#wire;
  }

  #openSdk(): Promise<Wire<C>> {
    const { region, endpoint } = this.#options;
    return this.#dialect.open({
      region,
      ...(endpoint !== undefined && { endpoint }),
      connectTimeoutMs: CONNECT_MS,
      onDate: (date, sentAt, receivedAt) => this.clock.observe(date, sentAt, receivedAt),
    });
  }
}
