import { PluginError } from './errors.ts';
import type { Logger } from './log.ts';

export interface RollbackFailure {
  readonly what: string;
  readonly error: unknown;
}

interface Step {
  readonly what: string;
  readonly undo: () => Promise<void> | void;
}

/**
 * An undo stack for a use case of several steps. Each step is added right after (or, when it may half happen, right
 * before) its effect; a step must therefore succeed when there is nothing to undo.
 */
export class Rollback {
  readonly #log: Logger;
  readonly #stepTimeoutMs: number;
  #steps: Step[] = [];

  /** No step may take longer than `stepTimeoutMs`: the rest must be undone too. */
  constructor(log: Logger, stepTimeoutMs = 15_000) {
    this.#log = log;
    this.#stepTimeoutMs = stepTimeoutMs;
  }

  /** `what` names the step for the log: "remove the link dry0123". */
  add(what: string, undo: () => Promise<void> | void): void {
    this.#steps.push({ what, undo });
  }

  /** The use case has succeeded: nothing is to be undone any more. */
  commit(): void {
    this.#steps = [];
  }

  /** Undoes in reverse order, every step, whatever fails. Answers (and logs) what failed; does not throw. */
  async run(): Promise<readonly RollbackFailure[]> {
    const failures: RollbackFailure[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await this.#limited(step);
        this.#log.debug('undone', { step: step.what });
      } catch (error) {
        this.#log.warn('a step could not be undone; reconcile will find what is left', { step: step.what, error });
        failures.push({ what: step.what, error });
      }
    }
    return failures;
  }

  async #limited(step: Step): Promise<void> {
    const late = Promise.withResolvers<never>();
    const seconds = this.#stepTimeoutMs / 1000;
    const timer = setTimeout(
      () => late.reject(new PluginError('DEADLINE', { what: `Undo (${step.what})`, seconds })),
      this.#stepTimeoutMs,
    );
    try {
      await Promise.race([step.undo(), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Runs `work` on an undo stack: commits when it succeeds; undoes and throws the original error when it does not. */
export const withRollback = async <T>(log: Logger, work: (undo: Rollback) => Promise<T>): Promise<T> => {
  const undo = new Rollback(log);
  try {
    const result = await work(undo);
    undo.commit();
    return result;
  } catch (error) {
    await undo.run();
    throw error;
  }
};
