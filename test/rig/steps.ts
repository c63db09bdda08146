/** Prints what a demonstration does: a line per step in plain language, with its time, and what was seen below it. */

/** Gets finished lines. */
export type Print = (line: string) => void;

export class Steps {
  readonly #print: Print;
  readonly #started = performance.now();
  #count = 0;

  constructor(print: Print) {
    this.#print = print;
  }

  /**
   * Carries out a step and prints its sentence with its time, then what `work` showed. A failing step is printed as such,
   * and its error passed on.
   */
  async do<T>(sentence: string, work: (show: Print) => Promise<T>): Promise<T> {
    this.#count += 1;
    const number = String(this.#count).padStart(2);
    const shown: string[] = [];
    const started = performance.now();
    const close = (mark: string): void => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
      this.#print(`${number}. ${seconds} s  ${sentence}${mark}`);
      for (const line of shown) this.#print(`             ${line}`);
    };
    try {
      const result = await work((line) => shown.push(...line.split('\n')));
      close('');
      return result;
    } catch (error) {
      close('  FAILED');
      throw error;
    }
  }

  /** Seconds since the first step. */
  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }
}

/** Throws with a sentence when something that the demonstration claims is not so. */
export function expect(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new Error(sentence);
}
