/** Every call that came in, for asserting on what was asked and how often. */

export interface Call {
  /** 1 for the first call of the simulator, and so on. */
  readonly number: number;
  /** When it came, by the simulator's clock. */
  readonly at: number;
  /** Such as `ec2`, `vpc`, `metadata`. */
  readonly service: string;
  /** `?` when the request was too broken to name one. */
  readonly action: string;
  /** Access key id, or '' where the caller is unknown. */
  readonly caller: string;
  /** Source address. */
  readonly source: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly requestId: string;
  /** `OK`, or the error's code; `-` while it is in work. A lost reply has the code of what really happened. */
  readonly code: string;
  /** HTTP status; 0 when no answer was sent. */
  readonly status: number;
  /** Milliseconds of the simulator's clock until it was answered. */
  readonly took: number;
  /** Kinds of the faults that were put on it. */
  readonly faults: readonly string[];
}

/** What to look for; everything named must fit. */
export interface CallFilter {
  readonly service?: string;
  /** A name, or the beginning of one followed by `*`. */
  readonly action?: string;
  readonly caller?: string;
  readonly source?: string;
  readonly code?: string;
  /** Only calls with a higher number. */
  readonly after?: number;
}

export class CallLog {
  readonly #calls = new Map<number, Call>();
  readonly #kept: number;
  #number = 0;

  /** `kept`: so many calls, the newest; all by default. */
  constructor(kept = Number.POSITIVE_INFINITY) {
    this.#kept = kept;
  }

  /** Notes a call at its beginning; the answer is completed by `note`. */
  begin(call: Omit<Call, 'number' | 'code' | 'status' | 'took' | 'faults'>): number {
    this.#number += 1;
    const number = this.#number;
    this.#calls.set(number, { ...call, number, code: '-', status: 0, took: 0, faults: [] });
    if (this.#calls.size > this.#kept) this.#calls.delete(number - this.#kept);
    return number;
  }

  /** What has become known about the call. */
  note(number: number, known: Partial<Omit<Call, 'number'>>): void {
    const call = this.#calls.get(number);
    // A call may still be in work when a test clears the log.
    if (call !== undefined) this.#calls.set(number, { ...call, ...known });
  }

  list(filter: CallFilter = {}): Call[] {
    const { action, after = 0, ...equal } = filter;
    const named = (call: Call) =>
      action === undefined ||
      (action.endsWith('*') ? call.action.startsWith(action.slice(0, -1)) : call.action === action);
    const same = (call: Call) =>
      Object.entries(equal).every(([key, value]) => value === undefined || call[key as keyof Call] === value);
    return [...this.#calls.values()].filter((call) => call.number > after && named(call) && same(call));
  }

  count(filter: CallFilter = {}): number {
    return this.list(filter).length;
  }

  /** Number of the last call: `list({ after: last })` are those from here on. */
  get last(): number {
    return this.#number;
  }

  clear(): void {
    this.#calls.clear();
  }
}
