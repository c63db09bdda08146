import type { Context } from './context.ts';

/**
 * One piece of work at a time per key, in the order of arrival. Several keys are taken in sorted order, so that two
 * callers with the same keys cannot wait for each other.
 */
export class KeyedMutex {
  /** A key is present while somebody holds it; the list are those who wait. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /**
   * Runs `work` while holding the key or keys. Waiting (not the work) ends with the context: then its reason is thrown
   * and the work is never begun. Must not be called again for a key from inside the work that holds it.
   */
  async run<T>(key: string | readonly string[], work: () => Promise<T>, c?: Context): Promise<T> {
    const keys = typeof key === 'string' ? [key] : [...new Set(key)].sort();
    const held: string[] = [];
    try {
      for (const one of keys) {
        await this.#take(one, c?.signal);
        held.push(one);
      }
      return await work();
    } finally {
      for (const one of held.reverse()) this.#release(one);
    }
  }

  /** Is anybody inside for this key? */
  isHeld(key: string): boolean {
    return this.#waiting.has(key);
  }

  /** Keys that are held now. */
  get size(): number {
    return this.#waiting.size;
  }

  #take(key: string, signal: AbortSignal | undefined): Promise<void> | undefined {
    signal?.throwIfAborted();
    const queue = this.#waiting.get(key);
    if (queue === undefined) {
      this.#waiting.set(key, []);
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        queue.splice(queue.indexOf(turn), 1);
        reject(signal?.reason);
      };
      queue.push(turn);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  #release(key: string): void {
    const next = this.#waiting.get(key)?.shift();
    if (next === undefined) this.#waiting.delete(key);
    else next();
  }
}
