import { asPluginError } from '../shared/errors.ts';
import type { FoundAddress } from '../shared/kernel/address.ts';
import { isKernelError } from '../shared/kernel/kernel-error.ts';
import { findLink } from '../shared/kernel/link.ts';
import { type KernelEvent, Monitor } from '../shared/kernel/monitor.ts';
import type { Multicast } from '../shared/kernel/multicast.ts';
import { type FoundRoute, RT_TABLE_MAIN, RTPROT_DRAYAGE } from '../shared/kernel/route.ts';
import type { Rtnetlink } from '../shared/kernel/rtnetlink.ts';
import { monitorRules } from '../shared/kernel/rule-monitor.ts';
import type { Logger } from '../shared/log.ts';
import type { StateStore } from '../shared/state/store.ts';
import { TABLE } from './firewall/ruleset.ts';
import type { EndpointRecord, NetworkState } from './state.ts';

export interface KernelWatchDeps {
  readonly rt: Rtnetlink;
  readonly store: StateStore<NetworkState>;
  /** Every route of the cluster's pools. */
  readonly routes: () => readonly { readonly prefix: string; readonly ours: boolean }[];
  /** The link that leads to the other hosts, with the host's addresses on it. */
  readonly uplink: () => object | undefined;
  /** A pass over the kernel. */
  readonly touchUp: () => Promise<unknown>;
  readonly log: Logger;
  /** Descriptor of a network namespace; the own one when absent. */
  readonly netns?: number;
}

/** Events come in crowds: one pass for all of a moment. */
const SOON_MS = 100;
/** So many passes may follow each other; whoever goes on changing what is ours is answered less often. */
const PASSES = 8;
const NEXT_PASS_MS = 5_000;

/**
 * Hears what happens in the kernel, and has it looked over soon when something of ours was touched. What we do there
 * ourselves is not taken for that: records say so first, and what a pass repairs is an addition, which nobody is told of.
 */
export class KernelWatch {
  readonly #deps: KernelWatchDeps;
  readonly #monitors: Multicast[] = [];
  #timer: NodeJS.Timeout | undefined;
  #uplink = '';
  /** Passes that are allowed, as of `#counted`. */
  #passes = PASSES;
  #counted = performance.now();

  constructor(deps: KernelWatchDeps) {
    this.#deps = deps;
  }

  /** Without one of its monitors it goes on: the repair loop finds everything, only later. */
  start(): void {
    const { netns } = this.#deps;
    const options = netns === undefined ? {} : { netns };
    this.#uplink = JSON.stringify(this.#deps.uplink());
    this.#open('links, addresses and routes', () => {
      return new Monitor(['link', 'address', 'route'], (event) => this.#hear(event), options);
    });
    this.#open('rules', () =>
      monitorRules((event) => {
        if (event.kind === 'resync' || `${event.family} ${event.table}` === TABLE) this.#soon();
      }, options),
    );
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const monitor of this.#monitors.splice(0)) monitor.close();
  }

  #open(what: string, open: () => Multicast): void {
    try {
      this.#monitors.push(open());
    } catch (error) {
      if (!isKernelError(error)) throw error;
      this.#deps.log.warn('changes in the kernel are only found at intervals', { what, error });
    }
  }

  #hear(event: KernelEvent): void {
    const { kind } = event;
    const touched =
      kind === 'resync' ||
      (kind === 'route' && this.#lost(event.route, event.action)) ||
      (kind === 'address' && this.#moved(event.address, event.action)) ||
      (kind === 'link' && event.action === 'new' && !event.link.up && this.#isDown(event.link.name));
    if (touched) this.#soon();
  }

  /** A route that is to be there was deleted, or somebody else's is in its place. */
  #lost({ table, protocol, destination }: FoundRoute, action: 'new' | 'deleted'): boolean {
    if (table !== RT_TABLE_MAIN || (action === 'new') === (protocol === RTPROT_DRAYAGE)) return false;
    const { store, routes } = this.#deps;
    const [address = '', length] = destination.split('/');
    if (
      (length === '32' || length === '128') &&
      this.#attached((one) => one.address === address || one.address6 === address)
    ) {
      return true;
    }
    for (const { phase, prefixes } of store.all('networks').values()) {
      if (phase === 'ready' && prefixes.includes(destination)) return true;
    }
    return protocol === RTPROT_DRAYAGE && routes().some(({ prefix, ours }) => !ours && prefix === destination);
  }

  /**
   * Still so: a link is born like that, and its attachment is whole before anybody hears of it. A link that is gone is
   * not meant: it cannot be made again here, and its container is gone or the engine is about to say so.
   */
  #isDown(name: string): boolean {
    return this.#attached(({ link }) => link === name) && findLink(this.#deps.rt, { name })?.up === false;
  }

  /** A gateway's address is gone from its link, or the host's own address has changed: not just its time of life. */
  #moved({ link, scope }: FoundAddress, action: 'new' | 'deleted'): boolean {
    const { rt, uplink } = this.#deps;
    if (scope === 'global') {
      const former = this.#uplink;
      this.#uplink = JSON.stringify(uplink());
      return this.#uplink !== former;
    }
    const name = action === 'deleted' ? findLink(rt, { index: link })?.name : undefined;
    return name !== undefined && this.#attached((one) => one.link === name);
  }

  #attached(is: (endpoint: EndpointRecord) => boolean): boolean {
    for (const endpoint of this.#deps.store.all('endpoints').values()) {
      if (endpoint.phase === 'joined' && is(endpoint)) return true;
    }
    return false;
  }

  #soon(): void {
    if (this.#timer !== undefined) return;
    const now = performance.now();
    this.#passes = Math.min(PASSES, this.#passes + (now - this.#counted) / NEXT_PASS_MS) - 1;
    this.#counted = now;
    // Jittered: whatever touched this host may have touched all others too.
    const wait = Math.max(0, -this.#passes) * NEXT_PASS_MS + SOON_MS * (0.5 + Math.random());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#deps.touchUp().catch((error: unknown) => {
        this.#deps.log.error('the kernel could not be looked over', { error: asPluginError(error) });
      });
    }, wait);
    this.#timer.unref();
  }
}
