/** Faults put on calls from outside of a simulator's own logic. */
import type { Clock } from './clock.ts';

export type Fault =
  /** Refused with this code before anything happens. Status and message default to what the cloud uses with that code. */
  | { readonly kind: 'fail'; readonly code: string; readonly status?: number; readonly message?: string }
  /** Refused as if the token bucket were empty. */
  | { readonly kind: 'throttle' }
  /** 503, with the cloud's own code for it. */
  | { readonly kind: 'unavailable' }
  /** Everything happens, so many milliseconds (of the simulator's clock) later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Nothing happens and the connection is cut. */
  | { readonly kind: 'drop' }
  /** The effect happens, and the connection is cut instead of an answer. */
  | { readonly kind: 'lose-reply' }
  /** Nothing happens and no answer ever comes; the connection stays until the caller or the simulator closes it. */
  | { readonly kind: 'hang' }
  /** The credentials of this caller expire now: this call and later ones with them get the cloud's error for that. */
  | { readonly kind: 'expire-credentials' };

/** What only object servers do to an answer, or to bodies. */
export type ObjectFault =
  | Fault
  /** The effect happens; the connection ends after so many bytes of the answer's body. */
  | { readonly kind: 'truncate'; readonly after: number }
  /** The effect happens; one bit of the answer's body is another. */
  | { readonly kind: 'corrupt' }
  /** The effect happens; RST after so many bytes of the answer's body, or in the place of its head. */
  | { readonly kind: 'reset'; readonly after?: number }
  /** 200, and the error is in the body, as of copies and completions that take long. Nothing happens. */
  | { readonly kind: 'late-error'; readonly code: string };

/** Which calls a fault is put on. */
export interface FaultRule<F = Fault> {
  readonly fault: F;
  /** A name, or the beginning of one followed by `*`; every action by default. */
  readonly action?: string;
  /** Only calls of this service, such as `metadata`. By default all but `metadata`. */
  readonly service?: string;
  /** Only calls with this access key. */
  readonly caller?: string;
  readonly source?: string;
  /** Only calls that have these parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** The first of the fitting calls that is hit, counted from 1. */
  readonly nth?: number;
  /** How many fitting calls from there on; 1 by default, or any number if `forMs` is given. */
  readonly times?: number;
  /** Only within so many milliseconds from now. */
  readonly forMs?: number;
}

export interface FaultHandle {
  readonly id: number;
  /** Calls hit so far. */
  readonly hits: number;
  remove(): void;
}

export interface FaultTarget {
  readonly service: string;
  readonly action: string;
  readonly caller: string;
  readonly source: string;
  readonly parameters: Readonly<Record<string, string>>;
}

interface Entry<F> {
  readonly id: number;
  readonly rule: FaultRule<F>;
  readonly until: number;
  seen: number;
  hits: number;
}

type Where = Omit<FaultRule, 'fault' | 'action'>;

const matches = (rule: FaultRule<unknown>, call: FaultTarget): boolean => {
  const action = rule.action ?? '*';
  if (rule.service === undefined ? call.service === 'metadata' : rule.service !== call.service) return false;
  if (action.endsWith('*') ? !call.action.startsWith(action.slice(0, -1)) : action !== call.action) return false;
  if (rule.caller !== undefined && rule.caller !== call.caller) return false;
  if (rule.source !== undefined && rule.source !== call.source) return false;
  return Object.entries(rule.parameters ?? {}).every(([key, value]) => call.parameters[key] === value);
};

/** `F`: the kinds that the simulator can put on a call. */
export class Faults<F = Fault> {
  readonly #clock: Clock;
  readonly #entries = new Map<number, Entry<F | Fault>>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(rule: FaultRule<F | Fault>): FaultHandle {
    this.#last += 1;
    const until = rule.forMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + rule.forMs;
    const entry: Entry<F | Fault> = { id: this.#last, rule, until, seen: 0, hits: 0 };
    this.#entries.set(entry.id, entry);
    return {
      id: entry.id,
      get hits() {
        return entry.hits;
      },
      remove: () => this.remove(entry.id),
    };
  }

  remove(id: number): void {
    this.#entries.delete(id);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** What hits this call; counts it. */
  take(call: FaultTarget): (F | Fault)[] {
    const hit: (F | Fault)[] = [];
    for (const entry of this.#entries.values()) {
      const { rule } = entry;
      if (this.#clock.now() >= entry.until || !matches(rule, call)) continue;
      entry.seen += 1;
      const times = rule.times ?? (rule.forMs === undefined ? 1 : Number.POSITIVE_INFINITY);
      if (entry.seen < (rule.nth ?? 1) || entry.hits >= times) continue;
      entry.hits += 1;
      hit.push(rule.fault);
    }
    return hit;
  }

  fail(action: string, code: string, where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'fail', code } });
  }

  throttle(action: string, where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'throttle' } });
  }

  /** Every fitting call until it is removed, unless `times` or `forMs` say otherwise. */
  delay(action: string, ms: number, where: Where = {}): FaultHandle {
    return this.add({ times: Number.POSITIVE_INFINITY, ...where, action, fault: { kind: 'delay', ms } });
  }

  drop(action: string, where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'drop' } });
  }

  loseReply(action: string, where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'lose-reply' } });
  }

  hang(action: string, where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'hang' } });
  }

  expireCredentials(action = '*', where: Where = {}): FaultHandle {
    return this.add({ ...where, action, fault: { kind: 'expire-credentials' } });
  }

  /** 503 to every fitting call for so long. */
  storm(forMs: number, action = '*', where: Where = {}): FaultHandle {
    return this.add({ ...where, action, forMs, fault: { kind: 'unavailable' } });
  }
}
