import type { Ec2 } from '../../shared/cloud/aws/routes.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';

/** What new accounts have, for each family of addresses. */
const DEFAULT_LIMIT = 500;
const REFRESH_MS = 60 * 60_000;
const RETRY_MS = 10 * 60_000;
/** A reading does not wait longer for it. */
const PATIENCE_MS = 2_000;

/** How many routes a table takes: the account's own number where it may be read. */
export class AwsQuota {
  readonly #ec2: Pick<Ec2, 'call'>;
  #limit: number | undefined;
  #due = Number.NEGATIVE_INFINITY;
  /** Why it could not be read. */
  #why: string | undefined;

  constructor(ec2: Pick<Ec2, 'call'>) {
    this.#ec2 = ec2;
  }

  get limit(): number {
    return this.#limit ?? DEFAULT_LIMIT;
  }

  /** Is the limit the account's own, or just the usual one? */
  get isLive(): boolean {
    return this.#limit !== undefined;
  }

  get why(): string | undefined {
    return this.#why;
  }

  /** Reads it when it is old, or at once with `force`. Never rejects: what was known, or the usual number, stays. */
  async refresh(c: Context, force = false): Promise<void> {
    if (!force && now() < this.#due) return;
    this.#due = now() + REFRESH_MS;
    try {
      this.#limit = await this.#ec2.call('GetServiceQuota', {}, newContext(c.log, PATIENCE_MS, c));
      this.#why = undefined;
    } catch (error) {
      this.#due = now() + RETRY_MS;
      this.#why = asPluginError(error).message;
      c.log.debug('the quota of routes could not be read', { why: this.#why, assumed: this.limit });
    }
  }
}
