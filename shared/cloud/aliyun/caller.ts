import { type Context, noLongerThan, now, remaining, sleep, throwIfDone } from '../../context.ts';
import { PluginError } from '../../errors.ts';
import { pauseMs, type RetryPolicy } from '../../retry.ts';
import { ClockSkew } from '../clock.ts';
import { type Rate, RateLimits } from '../token-bucket.ts';
import type { Credentials } from './credentials.ts';
import { AliyunRefusal, AliyunSilence, isTransient, kindOfError, translate } from './errors.ts';
import type { Sdk } from './sdk.ts';

export type Service = 'vpc' | 'ecs' | 'nas' | 'quotas';
export type Parameters = Readonly<Record<string, string>>;
export type Body = Readonly<Record<string, unknown>>;

const VERSIONS: Readonly<Record<Service, string>> = {
  ...{ vpc: '2016-04-28', ecs: '2014-05-26', nas: '2017-06-26', quotas: '2020-05-10' },
};

/** Longest wait for one answer, in milliseconds. */
const ANSWER_MS = 10_000;
/** Where nobody answers, more tries only keep the user waiting. */
const SILENT_TRIES = 4;

/** A skew below that does not explain a refusal: the clock has been moved since it was measured. */
const TELLING_SKEW_MS = 60_000;

/** What this host allows itself; an account's own limits are shared by all of its hosts, and are not published. */
const READS: Rate = { burst: 20, perSecond: 10 };
const WRITES: Rate = { burst: 5, perSecond: 2 };

export interface CallerOptions {
  readonly credentials: Credentials;
  readonly region: string;
  /** Instead of the region's public endpoints. */
  readonly endpoint?: string | undefined;
  readonly rateOf?: (action: string) => Rate;
  /** Pauses between attempts. */
  readonly retry?: RetryPolicy;
}

/**
 * Where a service answers. An own endpoint serves all of them, but the vendor's have a name for each: what begins with
 * `vpc.` or `vpc-vpc.` (from inside of a VPC) gives `ecs.` and `ecs-vpc.`; the Quota Center has one for all regions.
 */
export const endpointOf = (service: Service, region: string, own?: string): string => {
  if (own === undefined) {
    return service === 'quotas' ? 'https://quotas.aliyuncs.com' : `https://${service}.${region}.aliyuncs.com`;
  }
  const url = new URL(own);
  if (!/^vpc(-vpc)?\..*\baliyuncs\.com$/.test(url.hostname)) return url.origin;
  if (service === 'quotas') return `${url.protocol}//quotas.aliyuncs.com`;
  return `${url.protocol}//${url.host.replace(/^vpc/, service)}`;
};

const isWrite = (action: string): boolean => /^(Create|Delete|Modify|Set|Cancel)/.test(action);

/** Calls Aliyun's APIs: signed, within the limits that this host sets itself, under the context's deadline. */
export class AliyunCaller {
  readonly clock = new ClockSkew();
  readonly #options: CallerOptions;
  readonly #limits: RateLimits;
  #sdk: Promise<Sdk> | undefined;
  #calls = 0;
  #refusesTime = false;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#limits = new RateLimits('aliyun', options.rateOf ?? ((action) => (isWrite(action) ? WRITES : READS)));
  }

  get region(): string {
    return this.#options.region;
  }

  /** Attempts that were made. */
  get calls(): number {
    return this.#calls;
  }

  /** The last answer was that this host's time is too far off. */
  get refusesTime(): boolean {
    return this.#refusesTime;
  }

  /** A call that changes nothing, until there is an answer that is final. Errors: PROVIDER_*, DEADLINE. */
  async read(service: Service, action: string, parameters: Parameters, c: Context): Promise<Body> {
    try {
      return await this.repeat(service, action, parameters, c);
    } catch (error) {
      throw this.translate(error);
    }
  }

  /**
   * Repeats until there is an answer that is final, nobody answers, or the context ends; `isPassing` says of which errors
   * more may be expected. For writes that may be repeated. Errors: those of the last attempt that says more than that time
   * ran out, as `once`.
   */
  async repeat(
    service: Service,
    action: string,
    parameters: Parameters,
    c: Context,
    isPassing: (error: unknown) => boolean = isTransient,
  ): Promise<Body> {
    let failure: unknown;
    let silent = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.once(service, action, parameters, c);
      } catch (error) {
        // What failed before says more than that time ran out, or that the next turn would come too late.
        const late = error instanceof PluginError && (error.code === 'PROVIDER_THROTTLED' || error.code === 'DEADLINE');
        if ((late || c.signal.aborted) && failure !== undefined) throw failure;
        failure = error;
        const kind = kindOfError(error);
        // After a throttle the next turn itself comes late enough.
        const pause = kind === 'throttled' ? 0 : pauseMs(attempt, this.#options.retry);
        if (kind === 'silent') silent += 1;
        if (!isPassing(error) || pause >= remaining(c) || silent >= SILENT_TRIES) throw failure;
        c.log.debug('will ask Aliyun again', { action, attempt, kind });
        await sleep(pause, c).catch(() => Promise.reject(failure));
      }
    }
  }

  /**
   * One attempt, but a second one with new credentials. `latest`: not to be sent after this moment of the contexts'
   * clock. Errors: AliyunRefusal, AliyunSilence, PROVIDER_*, DEADLINE.
   */
  async once(service: Service, action: string, parameters: Parameters, c: Context, latest?: number): Promise<Body> {
    const { credentials, region, endpoint } = this.#options;
    for (let renewed = false; ; renewed = true) {
      throwIfDone(c);
      const key = await credentials.get(c);
      this.#sdk ??= import('./sdk.ts').then((module) => new module.Sdk());
      const sdk = await this.#sdk;
      await this.#limits.take(action, c);
      if (latest !== undefined && now() > latest)
        throw new AliyunSilence(`${service}:${action}`, 'not sent in time', true);
      const [sentAt, turn] = [Date.now(), now()];
      this.#calls += 1;
      const request = {
        ...{ endpoint: endpointOf(service, region, endpoint), service, version: VERSIONS[service], action },
        parameters: { RegionId: region, ...parameters },
        timeoutMs: Math.min(ANSWER_MS, remaining(c)),
      };
      try {
        const answer = await noLongerThan(c, sdk.send(request, key));
        this.clock.observe(answer.date, sentAt, Date.now());
        this.#refusesTime = false;
        this.#limits.accepted(action);
        return answer.body;
      } catch (error) {
        const kind = kindOfError(error);
        this.#refusesTime = kind === 'clock';
        if (kind === 'throttled') this.#limits.refused(action, turn);
        else if (error instanceof AliyunRefusal && kind !== 'unavailable') this.#limits.accepted(action);
        if (kind !== 'expired' || renewed) throw error;
        credentials.reject(key);
      }
    }
  }

  /** Calls like this were refused for their number a short time ago: what can do without one should. */
  isPressed(action: string): boolean {
    return this.#limits.isPressed(action);
  }

  /** Aliyun's errors in the words of the user. */
  translate(error: unknown): unknown {
    const { ms, text } = this.clock;
    const clock = ms !== undefined && Math.abs(ms) >= TELLING_SKEW_MS ? text : undefined;
    return translate(error, { clock, role: this.#options.credentials.role });
  }
}
