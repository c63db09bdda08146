import type { Context } from '../../shared/context.ts';
import type { Base } from './content.ts';
import type { World } from './content-world.ts';
import type { BaseReader } from './reader.ts';

/** Brings what is asked for, and nothing else. */
export class PlainReader implements BaseReader {
  readonly #world: Pick<World, 'fetch'>;
  readonly #base: Base;

  constructor(world: Pick<World, 'fetch'>, base: Base) {
    this.#world = world;
    this.#base = base;
  }

  async read(offset: number, length: number, c: Context): Promise<readonly Buffer[]> {
    const into = Buffer.allocUnsafe(length);
    await this.#world.fetch(this.#base, offset, into, c);
    return [into];
  }

  close(): void {
    // Nothing is kept.
  }
}
