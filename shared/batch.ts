import { type Context, newContext, remaining } from './context.ts';

interface Question<V> {
  readonly key: string;
  readonly c: Context;
  readonly resolve: (value: V | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export interface BatchOptions<V> {
  /** Most keys of one request. */
  readonly most: number;
  /** How long questions are gathered before they are sent, in milliseconds. */
  readonly gatherMs: number;
  /** Answers for all keys at once; what is not in the answer is undefined. */
  readonly ask: (keys: readonly string[], c: Context) => Promise<ReadonlyMap<string, V>>;
}

/**
 * Sends questions of the same moment as one request. A question is answered by a request that was sent after it was
 * put: never by what was known before. A request lives as long as the longest of those who wait for it, and each of them
 * waits no longer than its own context.
 */
export class Batch<V> {
  readonly #options: BatchOptions<V>;
  #gathering: Question<V>[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatchOptions<V>) {
    this.#options = options;
  }

  /** Errors: those of `ask`, the context's own reason. */
  get(key: string, c: Context): Promise<V | undefined> {
    return new Promise((resolve, reject) => {
      if (c.signal.aborted) {
        reject(c.signal.reason);
        return;
      }
      const leave = (): void => reject(c.signal.reason);
      c.signal.addEventListener('abort', leave, { once: true });
      const done = (): void => c.signal.removeEventListener('abort', leave);
      this.#gathering.push({
        ...{ key, c },
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      this.#timer ??= setTimeout(() => this.#send(), this.#options.gatherMs);
    });
  }

  #send(): void {
    this.#timer = undefined;
    const questions = this.#gathering.filter(({ c }) => !c.signal.aborted);
    this.#gathering = [];
    const keys = [...new Set(questions.map(({ key }) => key))];
    for (let n = 0; n < keys.length; n += this.#options.most) {
      const some = new Set(keys.slice(n, n + this.#options.most));
      void this.#ask(questions.filter(({ key }) => some.has(key)));
    }
  }

  async #ask(questions: readonly Question<V>[]): Promise<void> {
    const [longest] = questions.map(({ c }) => c).sort((a, b) => remaining(b) - remaining(a));
    if (longest === undefined) return;
    try {
      // Whoever ends early, ends for itself only.
      const c = newContext(longest.log, remaining(longest), undefined, longest.requestId);
      const found = await this.#options.ask([...new Set(questions.map(({ key }) => key))], c);
      for (const { key, resolve } of questions) resolve(found.get(key));
    } catch (error) {
      for (const { reject } of questions) reject(error);
    }
  }
}
