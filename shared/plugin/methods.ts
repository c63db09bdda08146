import { PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Handler } from './calls.ts';

/** Methods by path: `/NetworkDriver.Join`. */
export type MethodTable = Readonly<Record<string, Handler>>;

/** What can be called: some methods at once, the others when the plugin is ready, for which calls wait a while. */
export class Methods {
  readonly #early: MethodTable;
  readonly #readyTimeoutMs: number;
  /** Resolved when there is news for those who wait until the plugin is ready. */
  #news = Promise.withResolvers<void>();
  #table: MethodTable | undefined;
  #refusal: PluginError | undefined;

  constructor(early: MethodTable, readyTimeoutMs: number) {
    this.#early = early;
    this.#readyTimeoutMs = readyTimeoutMs;
  }

  /** From now on calls are answered by these methods; those that wait are let in. */
  install(table: MethodTable): void {
    this.#refusal = undefined;
    this.#table = table;
    this.#news.resolve();
  }

  /** Until `install`, calls (also those that wait) are answered with this error. */
  refuse(error: PluginError): void {
    this.#refusal = error;
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }

  /** A method that needs no state. */
  early(method: string): Handler | undefined {
    return Object.hasOwn(this.#early, method) ? this.#early[method] : undefined;
  }

  /** Errors: METHOD_UNKNOWN, NOT_READY and what was refused with. */
  async installed(method: string, log: Logger): Promise<Handler> {
    if (this.#table === undefined) await this.#untilReady(log);
    const table = this.#table ?? {};
    const handler = Object.hasOwn(table, method) ? table[method] : undefined;
    if (handler === undefined) throw new PluginError('METHOD_UNKNOWN', { method: method.slice(0, 100) });
    return handler;
  }

  async #untilReady(log: Logger): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#readyTimeoutMs);
    try {
      log.debug('waits until the plugin is ready');
      if (this.#refusal === undefined) await Promise.race([this.#news.promise, late.promise]);
    } finally {
      clearTimeout(timer);
    }
    if (this.#table === undefined) throw this.#refusal ?? new PluginError('NOT_READY', {});
  }
}
