import type { Context } from '../../shared/context.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Move } from './journal.ts';
import type { Space } from './space.ts';
import { isFailure } from './store-errno.ts';

/** Whoever renames a folder says so often that he lives. */
const BEAT_MS = 20_000;
const TYPE = 'application/json';

/**
 * What a host is doing with a folder, for itself after a crash and for other hosts: `<prefix>.drayage/renames/<id>.json`. Up to the
 * switch everything is copied; then what was copied is removed at the old place.
 */
export interface Intent {
  readonly version: 1;
  readonly id: string;
  readonly host: string;
  readonly from: string;
  readonly to: string;
  readonly phase: 'copy' | 'remove';
  /** Epoch milliseconds by the store's clock: what was written at the old place before is copied for certain after the switch. */
  readonly begun?: number;
}

/** Intents of this host, and how others see that it is at it. */
export class Intents {
  readonly #space: Space;
  readonly #beats = new Map<string, NodeJS.Timeout>();
  /** One write after another: the last one counts. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(space: Space) {
    this.#space = space;
  }

  key(id: string): string {
    return this.#space.naming.hidden('renames/', id, '.json');
  }

  /** Until `done` it is written again now and then, while the copying goes on: the time of the switch is that of its writing. */
  async write(intent: Intent, c: Context, ifMatch?: string): Promise<ObjectFacts> {
    this.done(intent.id);
    const write = this.#writing.then(() => this.#put(intent, c, ifMatch));
    this.#writing = write.catch(() => undefined);
    const facts = await write;
    if (intent.phase === 'copy') this.#beats.set(intent.id, this.#beat(intent, c));
    return facts;
  }

  done(id: string): void {
    clearInterval(this.#beats.get(id));
    this.#beats.delete(id);
  }

  /** Undefined: it is not there, or not readable. */
  async read(id: string, c: Context): Promise<Intent | undefined> {
    try {
      const { data } = await this.#space.store.get(this.key(id), {}, c);
      return readIntent(Buffer.concat(data).toString());
    } catch (error) {
      if (isFailure(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  #beat(intent: Intent, c: Context): NodeJS.Timeout {
    return setInterval(() => {
      if (this.#space.isEnding) return;
      const write = this.#writing.then(() => (this.#beats.has(intent.id) ? this.#put(intent, c) : undefined));
      this.#writing = write.catch((error: unknown) => {
        this.#space.failed('that a folder is being renamed could not be told', error);
      });
    }, BEAT_MS).unref();
  }

  async #put(intent: Intent, c: Context, ifMatch?: string): Promise<ObjectFacts> {
    const { store } = this.#space;
    const condition = ifMatch !== undefined && store.limits.conditionalPut ? { condition: { ifMatch } } : {};
    const body = Buffer.from(JSON.stringify({ ...intent, beat: this.#space.ms() }));
    return await store.put(this.key(intent.id), [body], { meta: {}, contentType: TYPE, ...condition }, c);
  }
}

export const intentOf = (move: Move, host: string): Intent => ({
  ...{ version: 1, id: move.id, host, from: move.from, to: move.to },
  phase: 'copy',
});

const readIntent = (text: string): Intent | undefined => {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof found !== 'object' || found === null || !('version' in found) || found.version !== 1) return undefined;
  const { id, host, from, to, phase } = found as Record<string, unknown>;
  const isRight =
    [id, host, from, to].every((text) => typeof text === 'string') && (phase === 'copy' || phase === 'remove');
  return isRight ? (found as Intent) : undefined;
};
