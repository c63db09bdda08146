import { contains, hostCidr, parseAddress, parseCidr } from '../../shared/cidr.ts';
import { type Context, newContext, remaining, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Claims } from './claims.ts';
import type { Fates } from './fates.ts';
import type { Route } from './provider.ts';
import { kindOf } from './route-kind.ts';
import type { RouteView } from './route-view.ts';

export interface AddressDeps {
  readonly claims: Claims;
  readonly view: RouteView;
  readonly fates: Fates;
  /** Brings the provider to work, or throws why not. */
  readonly ready: (c: Context) => Promise<void>;
  /** Reads the whole view from the provider, unless it was read within `maxAgeMs`. */
  readonly freshen: (c: Context, maxAgeMs?: number) => Promise<void>;
}

/** How long another host is given to let go of an address, and how often it is looked at, in milliseconds. */
const PATIENCE_MS = 6_000;
const POLL_MS = 500;

/** Roaming addresses: claims of one address each, which follow their container from host to host. */
export class Addresses {
  readonly #deps: AddressDeps;

  constructor(deps: AddressDeps) {
    this.#deps = deps;
  }

  /** Errors: ADDRESS_HELD, ADDRESS_ELSEWHERE, and those of `Claims.claim`. */
  async claim(text: string, pool: string, c: Context): Promise<void> {
    const { claims, ready, freshen } = this.#deps;
    const address = parseAddress(text);
    const prefix = hostCidr(address).text;
    const around = claims.own.find((one) => one !== prefix && contains(parseCidr(one), address));
    if (around !== undefined && claims.isHeld(around)) return;
    await ready(c);
    // The record alone is not enough: an address may have moved on since the last look.
    if (claims.record(prefix)?.phase === 'held') await freshen(c);
    if (claims.isHeld(prefix)) return;
    if (claims.record(prefix)?.phase === 'held') await claims.release(prefix, c);
    // Mostly its container has just been stopped elsewhere.
    if (this.#holder(prefix) !== undefined) await freshen(c, POLL_MS);
    const patience = newContext(c.log, Math.min(PATIENCE_MS, remaining(c) / 2), c);
    for (let first = true; ; first = false) {
      await this.#refuseElsewhere(address.text, prefix, c);
      const holder = this.#holder(prefix);
      const owner = await this.#take(prefix, pool, holder, c);
      if (owner === undefined) return;
      if (patience.signal.aborted) throw new PluginError('ADDRESS_HELD', { address: address.text, owner });
      await sleep(first ? POLL_MS / 5 : POLL_MS, patience).catch(() => undefined);
      await freshen(c);
    }
  }

  /** Answers who has it, if it could not be had. */
  async #take(prefix: string, pool: string, holder: Route | undefined, c: Context): Promise<string | undefined> {
    const { claims, fates } = this.#deps;
    if (holder !== undefined && !(await fates.isVacant(holder, c))) return holder.nextHop.host;
    try {
      await claims.claim(prefix, pool, { former: holder?.nextHop, free: true }, c);
      return undefined;
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      // Somebody was quicker, our view was old, or who gives it up has done so in the table that decides, and not in all.
      const isOwned = error.code === 'PREFIX_OWNED' || isOwnedIn(error);
      if (!isOwned && !(error.code === 'ROUTE_CONFLICT' && holder !== undefined)) throw error;
      return String(error.context.owner ?? error.context.target);
    }
  }

  #holder(prefix: string): Route | undefined {
    const route = this.#deps.view.get(prefix);
    return route?.ours === true ? undefined : route;
  }

  /** In another host's prefix an address is that host's. From an old view nobody is refused. */
  async #refuseElsewhere(address: string, prefix: string, c: Context): Promise<void> {
    if (this.#around(prefix) === undefined) return;
    await this.#deps.freshen(c, POLL_MS);
    const around = this.#around(prefix);
    if (around === undefined) return;
    throw new PluginError('ADDRESS_ELSEWHERE', { address, owner: around.nextHop.host, prefix: around.prefix });
  }

  #around(prefix: string): Route | undefined {
    const routes = this.#deps.view.overlapping(parseCidr(prefix));
    return routes.find((route) => !route.ours && kindOf(route) === 'prefix');
  }
}

/** Did a table refuse it that does not decide, because another host has it there? */
const isOwnedIn = ({ code, cause }: PluginError): boolean =>
  code === 'ROUTE_CONFLICT' && cause instanceof PluginError && cause.code === 'PREFIX_OWNED';
