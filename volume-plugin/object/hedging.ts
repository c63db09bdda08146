import { type Context, now } from '../../shared/context.ts';
import type { Flight, Http } from './http/http-client.ts';
import type { HttpError } from './http/http-error.ts';
import type { HttpAnswer, HttpHead, HttpRequest, Origin } from './http/message.ts';

/** First bytes that are remembered; before there are `least`, nothing is known of what is late. */
const SAMPLES = { most: 256, least: 32, every: 16 };
/** Late is what is later than this part of all, by this factor, and by this many milliseconds. */
const LATE = { part: 0.95, factor: 1.25, leastMs: 5 };
/** Of so many requests one may be asked twice, and so many in a row. */
const SHARE = { of: 1 / 33, most: 4 };

/** Knows when the first byte of an answer is late, and how often one may ask again because of that. */
export class Lateness {
  readonly #samples: number[] = [];
  #next = 0;
  #fresh = 0;
  #lateMs: number | undefined;
  #credit = SHARE.most;

  /** A first byte came after `ms`. */
  note(ms: number): void {
    if (this.#samples.length < SAMPLES.most) this.#samples.push(ms);
    else this.#samples[this.#next % SAMPLES.most] = ms;
    this.#next += 1;
    this.#fresh += 1;
    this.#credit = Math.min(SHARE.most, this.#credit + SHARE.of);
    if (this.#samples.length < SAMPLES.least || (this.#fresh < SAMPLES.every && this.#lateMs !== undefined)) return;
    this.#fresh = 0;
    const sorted = this.#samples.toSorted((a, b) => a - b);
    const high = sorted[Math.floor(sorted.length * LATE.part)] ?? 0;
    this.#lateMs = Math.max(high * LATE.factor, high + LATE.leastMs);
  }

  /** Milliseconds after which a first byte is late; undefined: not known yet. */
  get lateMs(): number | undefined {
    return this.#lateMs;
  }

  /** May one ask a second time now? Counts it when so. */
  spend(): boolean {
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }
}

/** What a hedged request tells of itself. */
export interface Hedged {
  readonly answer: HttpAnswer;
  readonly asked: 1 | 2;
  readonly winner: 1 | 2;
}

/**
 * Asks, and asks a second time when no first byte has come when it should have. The first that answers is taken, and
 * the other given up before a byte of its body was read, so that both may have the same buffer. Errors: HttpError, when
 * none answers.
 */
export const hedged = (
  http: Http,
  origin: Origin,
  request: HttpRequest,
  lateness: Lateness,
  c: Context,
): Promise<Hedged> =>
  new Promise((resolve, reject) => {
    const flights: (Flight | undefined)[] = [];
    let timer: NodeJS.Timeout | undefined;
    let sentAt: number | undefined;
    let asked: 1 | 2 = 1;
    let open = 0;
    let winner: number | undefined;
    const begin = (which: number): void => {
      open += 1;
      const flight = http.begin(
        origin,
        {
          ...request,
          onSent: () => {
            if (which === 0) sent();
          },
          onHead: (head: HttpHead) => {
            winner ??= which;
            clearTimeout(timer);
            timer = undefined;
            lateness.note(now() - (sentAt ?? now()));
            flights[1 - which]?.cancel();
            request.onHead?.(head);
          },
        },
        c,
      );
      flights[which] = flight;
      flight.answer.then(
        (answer) => resolve({ answer, asked, winner: which === 0 ? 1 : 2 }),
        (error: HttpError) => {
          open -= 1;
          clearTimeout(timer);
          // The other one may still come, unless this is the one that had begun to.
          if (winner === which || (winner === undefined && open === 0)) reject(error);
        },
      );
    };
    const sent = (): void => {
      clearTimeout(timer);
      sentAt = now();
      const { lateMs } = lateness;
      if (lateMs === undefined) return;
      timer = setTimeout(() => {
        timer = undefined;
        if (winner !== undefined || !lateness.spend()) return;
        asked = 2;
        begin(1);
      }, lateMs);
    };
    begin(0);
  });
