/** Limits by name, which a test may change at any time. */
export class Quotas {
  readonly #limits: Map<string, number>;

  constructor(limits: Readonly<Record<string, number>>) {
    this.#limits = new Map(Object.entries(limits));
  }

  /** The limit; infinite for a name that was never given one. */
  limit(name: string): number {
    return this.#limits.get(name) ?? Number.POSITIVE_INFINITY;
  }

  set(name: string, limit: number): void {
    this.#limits.set(name, limit);
  }

  /** True when one more fits. */
  fits(name: string, used: number, more = 1): boolean {
    return used + more <= this.limit(name);
  }

  all(): Record<string, number> {
    return Object.fromEntries(this.#limits);
  }
}
