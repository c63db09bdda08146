import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';

/** What people call the instances of a cloud. */
export class InstanceNames {
  readonly #ask: (ids: readonly string[], c: Context) => Promise<unknown>;
  readonly #names = new Map<string, string>();

  /** `ask`: looks instances up, and calls `learn` with each that is found. */
  constructor(ask: (ids: readonly string[], c: Context) => Promise<unknown>) {
    this.#ask = ask;
  }

  learn(id: string, name: string): void {
    this.#names.set(id, name);
  }

  /** Its id until it is known. */
  of(id: string): string {
    return this.#names.get(id) ?? id;
  }

  /** Looks up those that are not known. One that cannot be looked up keeps its id. Errors: the context's. */
  async meet(ids: readonly string[], c: Context): Promise<void> {
    const unknown = [...new Set(ids)].filter((id) => !this.#names.has(id));
    if (unknown.length === 0) return;
    try {
      await this.#ask(unknown, c);
    } catch (error) {
      if (c.signal.aborted) throw error;
      c.log.warn('hosts that have disks could not be looked up', { error: asPluginError(error).message });
    }
  }
}
