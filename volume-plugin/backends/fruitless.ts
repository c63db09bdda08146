import { asPluginError, type PluginError } from '../../shared/errors.ts';
import type { NewVolume } from './backend.ts';

/** Makings that failed before they had begun anything that could become the volume. */
export class Fruitless {
  /** By the volume's name. */
  readonly #makings = new Map<string, string>();

  /** Runs what comes before anything is begun. `isFruitless`: nothing of the making goes on after that error. */
  async watch<T>(
    { name, making = '' }: NewVolume,
    find: () => Promise<T>,
    isFruitless: (error: PluginError) => boolean = () => true,
  ): Promise<T> {
    this.#makings.delete(name);
    try {
      return await find();
    } catch (error) {
      if (isFruitless(asPluginError(error))) this.#makings.set(name, making);
      throw error;
    }
  }

  /** Was the last making of that name this one, and fruitless? */
  has(name: string, making: string): boolean {
    return this.#makings.get(name) === making;
  }
}
