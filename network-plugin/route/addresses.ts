import { contains, hostCidr, parseAddress, parseCidr } from '../../shared/cidr.ts';
import { type Context, newContext, remaining, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { type Claims, isAddress } from './claims.ts';
import type { Fate, NextHop, Route, RouteProvider } from './provider.ts';
import type { RouteView } from './route-view.ts';

export interface AddressDeps {
  readonly provider: RouteProvider;
  readonly claims: Claims;
  readonly view: RouteView;
  /** Reads the whole view from the provider. */
  readonly refresh: (c: Context) => Promise<void>;
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
    const { claims, refresh } = this.#deps;
    const address = parseAddress(text);
    const prefix = hostCidr(address).text;
    const patience = newContext(c.log, Math.min(PATIENCE_MS, remaining(c) / 2), c);
    if (claims.own.some((one) => one !== prefix && contains(parseCidr(one), address))) return;
    for (;;) {
      const holder = this.#holder(prefix);
      this.#refuseElsewhere(text, prefix);
      const fate = holder === undefined ? undefined : await this.#fate(holder.nextHop, c);
      if (fate === undefined || fate === 'gone' || fate === 'stopped') {
        try {
          await claims.take(prefix, pool, holder?.nextHop, c);
          return;
        } catch (error) {
          // Somebody was quicker, or our view was old.
          if (!(error instanceof PluginError) || !['PREFIX_OWNED', 'ROUTE_CONFLICT'].includes(error.code)) throw error;
          if (patience.signal.aborted) throw this.#held(text, String(error.context.owner ?? error.context.target));
        }
      } else if (patience.signal.aborted) {
        throw this.#held(text, holder?.nextHop.host ?? 'unknown');
      }
      await sleep(POLL_MS, patience).catch(() => undefined);
      await refresh(c);
    }
  }

  release(text: string, c: Context): Promise<void> {
    return this.#deps.claims.release(hostCidr(parseAddress(text)).text, c);
  }

  #holder(prefix: string): Route | undefined {
    const route = this.#deps.view.get(prefix);
    return route?.ours === true ? undefined : route;
  }

  async #fate(hop: NextHop, c: Context): Promise<Fate> {
    return (await this.#deps.provider.fate?.(hop, c)) ?? 'alive';
  }

  #refuseElsewhere(address: string, prefix: string): void {
    const other = this.#deps.view
      .overlapping(parseCidr(prefix))
      .find((route) => !route.ours && route.gateway !== true && !isAddress(parseCidr(route.prefix)));
    if (other === undefined) return;
    throw new PluginError('ADDRESS_ELSEWHERE', { address, owner: other.nextHop.host, prefix: other.prefix });
  }

  #held(address: string, owner: string): PluginError {
    return new PluginError('ADDRESS_HELD', { address, owner });
  }
}
