import { ClockSkew } from '../../shared/cloud/clock.ts';
import { TokenBucket } from '../../shared/cloud/token-bucket.ts';
import { type Context, remaining, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { Caller, StoreAnswer, StoreCall } from './call.ts';
import { hedged, Lateness } from './hedging.ts';
import type { Http } from './http/http-client.ts';
import { HttpError, type HttpTrouble } from './http/http-error.ts';
import type { HttpAnswer, HttpHead, HttpRequest } from './http/message.ts';
import { WANTS_CREDENTIALS } from './http/proxy.ts';
import type { KeySource } from './key-source.ts';
import { Pacing, type Passage } from './pacing.ts';
import { type Refusal, refusalOf, type Verdict, verdictOf } from './refusal.ts';
import type { Signer, StoreKey } from './signing.ts';
import { StoreError } from './store.ts';

export interface CallerOptions {
  readonly http: Http;
  readonly signer: Signer;
  readonly keys: KeySource;
  /** Repetitions that all calls together may make when the store fails: so many at once, so many a second. */
  readonly repetitions?: { readonly burst: number; readonly perSecond: number };
  /** For tests: a number in [0, 1), and this host's clock in epoch milliseconds. */
  readonly random?: () => number;
  readonly clock?: () => number;
}

/** What a caller has done, since it was made. */
export interface CallCounts {
  calls: number;
  /** Attempts beyond the first. */
  repeats: number;
  /** Calls that were asked a second time because the answer was late, and how often that came first. */
  hedges: number;
  hedgesWon: number;
  /** Answers that wanted fewer requests. */
  slowed: number;
}

/** An outage is not made worse by everybody's repeating: so many at once, and so many a second of this process. */
const REPETITIONS = { burst: 128, perSecond: 50 };
/** Milliseconds that the first pause may last; what the store slows down is held back by its prefix beside that. */
const FIRST_PAUSE = { failed: 50, slow: 50 };

/** These do not pass by themselves. */
const LASTING: readonly HttpTrouble[] = ['certificate', 'tls', 'proxy'];

/** What proxies answer for what they do not let through, or cannot reach. */
const OF_PROXIES = [403, 500, 502, 503, 504];

/** Why an attempt was not the last. */
interface Setback {
  readonly error: StoreError;
  /** Undefined: it may be repeated at once. */
  readonly pauseFrom: number | undefined;
  /** The store may have done what it was asked. */
  readonly open: boolean;
}

/** What is remembered within one call. */
interface Course {
  readonly call: StoreCall;
  attempt: number;
  repeated: boolean;
  skewCorrected: boolean;
  refusedKey: StoreKey | undefined;
  keyReplaced: boolean;
  last: StoreError | undefined;
}

/** Calls one store. */
export class StoreCaller implements Caller {
  readonly counts: CallCounts = { calls: 0, repeats: 0, hedges: 0, hedgesWon: 0, slowed: 0 };
  readonly #http: Http;
  readonly #signer: Signer;
  readonly #keys: KeySource;
  readonly #repetitions: TokenBucket;
  readonly #random: () => number;
  readonly #clock: () => number;
  readonly #pacing: Pacing;
  readonly #lateness = new Lateness();
  /** Of the last answer that complained of the time; before one did, this host's clock is used as it is. */
  readonly #skew = new ClockSkew();

  constructor(options: CallerOptions) {
    this.#http = options.http;
    this.#signer = options.signer;
    this.#keys = options.keys;
    this.#random = options.random ?? Math.random;
    this.#clock = options.clock ?? Date.now;
    this.#repetitions = new TokenBucket('the store', options.repetitions ?? REPETITIONS);
    this.#pacing = new Pacing(undefined, this.#random);
  }

  /** How far this host's clock was found to be from the store's, in words; undefined: the store has not complained. */
  get skew(): string | undefined {
    return this.#skew.text;
  }

  /** Prefixes of keys that the store wants fewer requests for. */
  get heldPrefixes(): number {
    return this.#pacing.held;
  }

  async call(call: StoreCall, c: Context): Promise<StoreAnswer> {
    this.counts.calls += 1;
    const course: Course = {
      call,
      attempt: 0,
      repeated: false,
      skewCorrected: false,
      refusedKey: undefined,
      keyReplaced: false,
      last: undefined,
    };
    for (;;) {
      course.attempt += 1;
      const outcome = await this.#attempt(course, c);
      if (!('pauseFrom' in outcome)) return outcome;
      course.last = outcome.error;
      course.repeated ||= outcome.open;
      if (outcome.open && call.repeatable === false) throw outcome.error;
      if (outcome.pauseFrom !== undefined) await this.#pause(course, outcome.error, outcome.pauseFrom, c);
      this.counts.repeats += 1;
    }
  }

  close(): void {
    this.#http.close();
  }

  /** Waits before the next attempt; throws the error of the last one when there is no time for another. */
  async #pause({ call, attempt }: Course, error: StoreError, firstMs: number, c: Context): Promise<void> {
    const pause = pauseMs(attempt, { firstMs, random: this.#random });
    if (pause >= remaining(c)) throw error;
    c.log.debug('will ask the store again', {
      action: call.action,
      attempt,
      pauseMs: Math.round(pause),
      error: error.message,
    });
    try {
      // Those that the store slows down have a limit of their own, by prefix.
      if (error.failure !== 'THROTTLED') await this.#repetitions.take(c);
      await sleep(Math.min(pause, remaining(c)), c);
    } catch {
      // What failed says more than that time ran out.
      throw error;
    }
  }

  async #attempt(course: Course, c: Context): Promise<StoreAnswer | Setback> {
    const { call } = course;
    let passage: Passage | undefined;
    let key: StoreKey | undefined;
    let answer: HttpAnswer;
    let sentAt: number;
    try {
      key = await this.#key(course, c);
      passage = await this.#pacing.pass(call.key ?? '', c);
      sentAt = this.#clock();
      answer = await this.#send(course, key, sentAt, c);
    } catch (error) {
      passage?.left();
      return this.#setback(course, error, c);
    }
    if (answer.status < 300) {
      passage.taken();
      return { ...answer, refusal: undefined, repeated: course.repeated };
    }
    const refusal = refusalOf(answer);
    const ofProxy = this.#ofProxy(call, refusal);
    if (ofProxy !== undefined) {
      passage.left();
      return this.#setback(course, ofProxy, c);
    }
    const apart = new ClockSkew();
    apart.observe(answer.headers.get('date'), sentAt, this.#clock());
    const signedApart = apart.ms === undefined ? undefined : apart.ms - (this.#skew.ms ?? 0);
    const verdict = verdictOf(call.method, refusal, signedApart, key);
    if (verdict === 'slow') passage.slowed();
    else passage.taken();
    const setback = this.#judged(verdict, course, refusal, key, apart);
    if (setback !== undefined) {
      if (verdict === 'skewed') this.#skew.observe(answer.headers.get('date'), sentAt, this.#clock());
      return setback;
    }
    return { ...answer, refusal, repeated: course.repeated };
  }

  /** An answer that is not the store's, but of the proxy that reads requests to it. */
  #ofProxy({ address, method }: StoreCall, { status, code, requestId }: Refusal): HttpError | undefined {
    const proxy = this.#http.proxyOf(address.origin);
    if (proxy === undefined) return undefined;
    if (status === 407) return new HttpError('proxy', `the proxy ${proxy} ${WANTS_CREDENTIALS}`);
    // Answers of stores have a code, where they have a body.
    if (method === 'HEAD' || code !== '' || requestId !== '' || !OF_PROXIES.includes(status)) return undefined;
    const text = `the proxy ${proxy} answers ${status} for ${address.origin.key}`;
    return new HttpError('proxy', text, { sent: status >= 500 });
  }

  /** What to do about an answer that is an error; undefined: it is the result. Errors: SKEWED. */
  #judged(
    verdict: Verdict,
    course: Course,
    refusal: Refusal,
    key: StoreKey | undefined,
    apart: ClockSkew,
  ): Setback | undefined {
    const { call } = course;
    const said = `${call.action}: ${refusal.status}${refusal.code === '' ? '' : ` ${refusal.code}`}`;
    const error = (failure: 'THROTTLED' | 'UNREACHABLE' | 'SKEWED' | 'CREDENTIALS', text: string): StoreError =>
      new StoreError(failure, text, call.key === undefined ? {} : { key: call.key });
    switch (verdict) {
      case 'slow':
        this.counts.slowed += 1;
        return {
          error: error('THROTTLED', `${said}: the store wants fewer requests`),
          pauseFrom: FIRST_PAUSE.slow,
          open: false,
        };
      case 'failed':
        return { error: error('UNREACHABLE', `${said}: the store failed`), pauseFrom: FIRST_PAUSE.failed, open: true };
      case 'skewed': {
        const text = `${said}: this host's clock is ${apart.text ?? 'too far'} ${apart.text === undefined ? 'from' : 'of'} the store's`;
        if (course.skewCorrected || apart.ms === undefined) throw error('SKEWED', text);
        course.skewCorrected = true;
        return { error: error('SKEWED', text), pauseFrom: undefined, open: false };
      }
      case 'key':
        if (key === undefined || course.keyReplaced) return undefined;
        course.refusedKey = key;
        return { error: error('CREDENTIALS', `${said}: the key is not taken`), pauseFrom: undefined, open: false };
      case 'answer':
        return undefined;
    }
  }

  /** The key to sign with; another one when the store has refused the last. */
  async #key(course: Course, c: Context): Promise<StoreKey | undefined> {
    const refused = course.refusedKey;
    if (refused === undefined) return this.#keys.key(c);
    course.refusedKey = undefined;
    course.keyReplaced = true;
    return this.#keys.key(c, refused);
  }

  async #send(course: Course, key: StoreKey | undefined, sentAt: number, c: Context): Promise<HttpAnswer> {
    const { call } = course;
    let sent = false;
    const { address, method, body, into, longest, patienceMs } = call;
    const { host, path, resource } = address;
    const { target, headers } = this.#signer.sign(
      { method, host, path, resource, query: call.query ?? [], headers: call.headers ?? {} },
      key,
      sentAt - (this.#skew.ms ?? 0),
    );
    const request: HttpRequest = {
      method,
      target,
      headers,
      repeatable: call.repeatable !== false,
      onSent: () => {
        // A kept connection was dead: whether the store got what was sent there is open.
        course.repeated ||= sent;
        sent = true;
      },
      ...(body !== undefined && { body }),
      ...(longest !== undefined && { longest }),
      ...(patienceMs !== undefined && { patienceMs }),
      ...(into !== undefined && { into: (head: HttpHead) => (head.status < 300 ? into(head) : undefined) }),
    };
    if (call.hedged !== true || this.#pacing.isHeld(call.key ?? '')) {
      return this.#http.request(address.origin, request, c);
    }
    const { answer, asked, winner } = await hedged(this.#http, address.origin, request, this.#lateness, c);
    if (asked === 2) this.counts.hedges += 1;
    if (winner === 2) this.counts.hedgesWon += 1;
    return answer;
  }

  /** How an attempt without an answer failed, when it may be repeated. Errors: StoreError. */
  #setback({ call, last }: Course, error: unknown, c: Context): Setback {
    const more = { cause: error, ...(call.key !== undefined && { key: call.key }) };
    if (error instanceof StoreError) throw error;
    if (error instanceof HttpError && !['ended', 'too-large', 'unsendable'].includes(error.trouble)) {
      const failed = new StoreError('UNREACHABLE', `${call.action}: ${error.message}`, more);
      if (call.atOnce === true && LASTING.includes(error.trouble)) throw failed;
      return { error: failed, pauseFrom: FIRST_PAUSE.failed, open: error.sent };
    }
    if (c.signal.aborted) {
      // What failed before says more than that time ran out.
      throw (
        last ?? new StoreError('DEADLINE', `${call.action}: ${call.address.origin.key} has not answered in time`, more)
      );
    }
    if (error instanceof PluginError) {
      const failure =
        error.code === 'PROVIDER_UNREACHABLE' || error.code === 'DEADLINE' ? 'UNREACHABLE' : 'CREDENTIALS';
      const failed = new StoreError(failure, `${call.action}: ${error.message}`, more);
      if (failure === 'CREDENTIALS') throw failed;
      return { error: failed, pauseFrom: FIRST_PAUSE.failed, open: false };
    }
    throw new StoreError('INVALID', `${call.action}: ${error instanceof Error ? error.message : String(error)}`, more);
  }
}
