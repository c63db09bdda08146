import { Coalescer } from '../coalesce.ts';
import { type Context, newContext, now } from '../context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';

/** One method: parsed JSON in (undefined when there was no body), the answer out. May run on after its caller left. */
export type Handler = (body: unknown, c: Context) => Promise<unknown>;

/** What became of a call, and the id that its work is logged under. */
export type Outcome = { readonly requestId: string } & (
  | { readonly result: unknown; readonly error?: never }
  | { readonly error: PluginError }
);

/** Somebody who waits for an answer. */
export interface Call {
  readonly requestId: string;
  readonly log: Logger;
  /** Epoch milliseconds, on the clock of `now`. */
  readonly deadline: number;
  /** Was told DEADLINE. */
  late: boolean;
}

/** What is called, with what. */
export interface Request {
  readonly method: string;
  readonly handler: Handler;
  /** The bytes: equal requests are one. */
  readonly text: string;
  readonly body: unknown;
}

/** The end of an answer's way to its caller. */
export interface Delivery {
  /** Has it got there? */
  arrived(): boolean;
  /** It will not change any more. */
  over(): boolean;
  onOver(listener: () => void): void;
}

export interface CallOptions {
  readonly log: Logger;
  readonly callTimeoutMs: number;
  readonly workTimeoutMs: number;
  readonly distinct: RegExp;
  readonly ordinary?: (method: string, code: ErrorCode) => boolean;
  readonly onUndelivered?: (method: string, body: unknown, result: unknown, c: Context) => Promise<void>;
}

/**
 * Work on behalf of callers. A call that takes longer than `callTimeoutMs` is answered DEADLINE while the work goes on;
 * the same call again (same method, same bytes) joins it.
 */
export class Calls {
  readonly #options: CallOptions;
  readonly #flights = new Coalescer<Outcome>();
  #unique = 0;

  constructor(options: CallOptions) {
    this.#options = options;
  }

  /** Work that goes on, whether or not somebody still waits for it. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Resolves when what is in flight now has ended. */
  async settled(): Promise<void> {
    await this.#flights.settled();
  }

  /** Does the work or joins it. Never rejects. */
  async run(request: Request, call: Call, delivery: Delivery): Promise<Outcome> {
    const { method, text, body } = request;
    const distinct = this.#options.distinct.test(method);
    this.#unique += distinct ? 1 : 0;
    const key = `${method} ${distinct ? this.#unique : ''} ${text}`;
    if (this.#flights.has(key)) call.log.info('joins the same call under way');
    const flight = this.#flights.run(key, () => this.#work(request, call));
    const outcome = await this.#inTime(flight, method, call);
    if (distinct) this.#watchDelivery(flight, outcome, method, body, delivery);
    return outcome;
  }

  async #work({ method, handler, body }: Request, call: Call): Promise<Outcome> {
    const { requestId } = call;
    // Its deadline is its own: the work outlives its caller.
    const own = newContext(call.log, this.#options.workTimeoutMs, undefined, requestId);
    const c: Context = { ...own, answerBy: call.deadline };
    try {
      return { requestId, result: await handler(body, c) };
    } catch (thrown) {
      const error = asPluginError(thrown);
      this.#tell(method, error, c);
      return { requestId, error };
    } finally {
      if (call.late) c.log.info('the work that outlived its caller has ended', { method });
    }
  }

  #tell(method: string, error: PluginError, { log }: Context): void {
    if (this.#options.ordinary?.(method, error.code)) log.debug('answered with no', { code: error.code });
    else log[error.code === 'INTERNAL' ? 'error' : 'warn']('a call failed', { error });
  }

  /** The outcome, or DEADLINE when the caller's time is over first. */
  async #inTime(flight: Promise<Outcome>, method: string, c: Call): Promise<Outcome> {
    const late = Promise.withResolvers<Outcome>();
    const over = (): void => {
      c.late = true;
      const seconds = Math.round(this.#options.callTimeoutMs / 100) / 10;
      const error = new PluginError('DEADLINE', { what: method.slice(1), seconds });
      late.resolve({ requestId: c.requestId, error });
    };
    const timer = setTimeout(over, Math.max(0, c.deadline - now())).unref();
    try {
      return await Promise.race([flight, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sees to it that what a distinct call handed out is taken back when nobody got it. */
  #watchDelivery(flight: Promise<Outcome>, answered: Outcome, method: string, body: unknown, delivery: Delivery): void {
    const { onUndelivered } = this.#options;
    if (onUndelivered === undefined) return;
    const takeBack = async (): Promise<void> => {
      const outcome = await flight;
      if (outcome.error !== undefined || (outcome === answered && delivery.arrived())) return;
      const log = this.#options.log.child({ method, requestId: outcome.requestId });
      try {
        await onUndelivered(method, body, outcome.result, newContext(log, this.#options.workTimeoutMs));
      } catch (error) {
        log.warn('what nobody received could not be taken back', { error });
      }
    };
    if (delivery.over()) void takeBack();
    else delivery.onOver(() => void takeBack());
  }
}
