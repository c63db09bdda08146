/** Joins calls for the same thing: while work for a key is in flight, everybody who asks gets its result. */
export class Coalescer<T> {
  readonly #flights = new Map<string, Promise<T>>();

  /** Starts `work`, or joins what is in flight for this key. A failure goes to all who joined; the next call starts anew. */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const flight = this.#flights.get(key);
    if (flight !== undefined) return flight;
    // Begun in a microtask, so that the flight is known before the work can end it.
    const started = Promise.resolve()
      .then(work)
      .finally(() => this.#flights.delete(key));
    this.#flights.set(key, started);
    return started;
  }

  /** Is work for this key in flight? */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** How many pieces of work are in flight. */
  get size(): number {
    return this.#flights.size;
  }

  /** Waits for all that is in flight now, whether it succeeds or fails. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values());
  }
}
