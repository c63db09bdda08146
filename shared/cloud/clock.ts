/**
 * How far this machine's clock is from the cloud's, from the Date headers of its answers. Requests are signed with the
 * time, and clouds refuse what is more than some minutes off (AWS 5, Aliyun 15).
 */
export class ClockSkew {
  #ms: number | undefined;

  /** `date`: the header of an answer; `sentAt` and `receivedAt`: this machine's wall clock, in epoch milliseconds. */
  observe(date: string | undefined, sentAt: number, receivedAt: number): void {
    const theirs = date === undefined ? Number.NaN : Date.parse(date);
    if (Number.isNaN(theirs)) return;
    // The header has whole seconds: on average its moment is half of one later.
    this.#ms = Math.round((sentAt + receivedAt) / 2 - (theirs + 500));
  }

  /** Milliseconds that this machine is ahead of the cloud (negative: behind); undefined before the first answer. */
  get ms(): number | undefined {
    return this.#ms;
  }

  /** In words: `12 s ahead`; undefined before the first answer. */
  get text(): string | undefined {
    if (this.#ms === undefined) return undefined;
    const seconds = Math.abs(Math.round(this.#ms / 1000));
    return seconds === 0 ? 'exact' : `${seconds} s ${this.#ms > 0 ? 'ahead' : 'behind'}`;
  }
}
