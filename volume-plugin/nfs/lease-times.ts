import { now } from '../../shared/context.ts';

/** How long hosts of `access=single-writer` wait for each other, in milliseconds. No two hosts' clocks are compared. */
export interface LeaseTimes {
  /** How often a host that has leases gives a sign of life. */
  readonly beatMs: number;
  /** So long after the beginning of its last sign of life that came through a host cuts its containers off. */
  readonly patienceMs: number;
  /** So much longer than a holder's patience another host watches it stand still: for the cutting off, and clocks' drift. */
  readonly marginMs: number;
  /** Who was heard of no longer ago than this lives. */
  readonly aliveMs: number;
  /** Between two looks at another host's lease. */
  readonly lookMs: number;
  /** A watch that was interrupted for longer begins anew: what happened meanwhile is not known. */
  readonly gapMs: number;
  /** A plugin that is started again has so long to find out that what is mounted is still its own. */
  readonly resumeMs: number;
  /** For one sign of life, or one look. */
  readonly roundMs: number;
}

export const LEASE_TIMES: LeaseTimes = {
  beatMs: 5_000,
  patienceMs: 30_000,
  marginMs: 15_000,
  aliveMs: 12_000,
  lookMs: 2_000,
  gapMs: 15_000,
  resumeMs: 15_000,
  roundMs: 8_000,
};

/** A clock that never steps, and its timers. */
export interface LeaseClock {
  /** Milliseconds. */
  now(): number;
  /** Runs it later, unless what is answered is called before that. Does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
}

export const LEASE_CLOCK: LeaseClock = {
  now,
  after: (ms, run) => {
    const timer = setTimeout(run, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** Waits; ends early, without an error, with the signal. */
export const pauseOn = (clock: LeaseClock, ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
