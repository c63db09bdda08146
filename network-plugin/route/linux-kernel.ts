import { parseCidr, parseInterfaceAddress } from '../../shared/cidr.ts';
import { PluginError } from '../../shared/errors.ts';
import { listAddresses } from '../../shared/kernel/address.ts';
import { AF_INET, AF_INET6 } from '../../shared/kernel/inet.ts';
import { isKernelError } from '../../shared/kernel/kernel-error.ts';
import { listLinks } from '../../shared/kernel/link.ts';
import {
  addRoute,
  deleteRoute,
  type FoundRoute,
  listRoutes,
  type RouteFilter,
  RTPROT_DRAYAGE,
  replaceRoute,
} from '../../shared/kernel/route.ts';
import type { Rtnetlink } from '../../shared/kernel/rtnetlink.ts';
import type { LocalUse, PeerRoute, RouteKernel } from './kernel.ts';

/** The engine's view of the kernel that a netlink socket leads to. Calls are synchronous underneath: no I/O can hang. */
export class LinuxRouteKernel implements RouteKernel {
  readonly #rt: Rtnetlink;

  constructor(rt: Rtnetlink) {
    this.#rt = rt;
  }

  async peers(): Promise<readonly PeerRoute[]> {
    return this.#routes({ protocol: RTPROT_DRAYAGE, type: 'unicast' }).flatMap((route) =>
      route.via === undefined ? [] : [{ prefix: route.destination, via: route.via }],
    );
  }

  async putPeer({ prefix, via }: PeerRoute): Promise<void> {
    try {
      this.#rt.run(addRoute({ destination: prefix, via }));
      return;
    } catch (error) {
      if (!isKernelError(error, 'EEXIST')) throw error;
    }
    // Only a route of ours may be replaced: an administrator's stays, and the table shows whose it is.
    const foreign = this.#routes({}).find((route) => route.destination === prefix && route.protocol !== RTPROT_DRAYAGE);
    if (foreign !== undefined) {
      throw new PluginError('ROUTE_CONFLICT', { prefix, table: 'this host', target: this.#describe(foreign) });
    }
    this.#rt.run(replaceRoute({ destination: prefix, via }));
  }

  async removePeer({ prefix, via }: PeerRoute): Promise<void> {
    this.#delete({ destination: prefix, via, protocol: RTPROT_DRAYAGE });
  }

  async held(): Promise<readonly string[]> {
    return this.#routes({ protocol: RTPROT_DRAYAGE, type: 'unreachable' }).map((route) => route.destination);
  }

  async hold(prefix: string): Promise<boolean> {
    try {
      this.#rt.run(addRoute({ destination: prefix, type: 'unreachable' }));
      return true;
    } catch (error) {
      if (isKernelError(error, 'EEXIST')) return false;
      throw error;
    }
  }

  async unhold(prefix: string): Promise<void> {
    this.#delete({ destination: prefix, type: 'unreachable', protocol: RTPROT_DRAYAGE });
  }

  async uses(): Promise<readonly LocalUse[]> {
    const uses: LocalUse[] = [];
    const names = this.#linkNames();
    const nameOf = (index: number): string => names.get(index) ?? `link ${index}`;
    for (const found of listAddresses(this.#rt)) {
      // Every link has these, and packets to them never leave it.
      if (found.scope === 'link' && found.family === AF_INET6) continue;
      const { address, subnet } = parseInterfaceAddress(found.address);
      const what = `the subnet of ${nameOf(found.link)} (address ${address.text})`;
      uses.push({ prefix: subnet.text, kind: 'address', gateway: false, what });
    }
    for (const route of this.#routes({})) {
      if (route.protocol === RTPROT_DRAYAGE || isDefaultOrLinkLocal(route.destination)) continue;
      const gateway = route.via !== undefined || route.multipath;
      uses.push({ prefix: route.destination, kind: 'route', gateway, what: this.#describe(route, names) });
    }
    return uses;
  }

  #routes(filter: Omit<RouteFilter, 'family'>): FoundRoute[] {
    return ([AF_INET, AF_INET6] as const).flatMap((family) => listRoutes(this.#rt, { ...filter, family }));
  }

  #delete(route: Parameters<typeof deleteRoute>[0]): void {
    try {
      this.#rt.run(deleteRoute(route));
    } catch (error) {
      if (!isKernelError(error, 'ESRCH')) throw error;
    }
  }

  #linkNames(): ReadonlyMap<number, string> {
    return new Map(listLinks(this.#rt).map((link) => [link.index, link.name]));
  }

  #describe(route: FoundRoute, names: ReadonlyMap<number, string> = this.#linkNames()): string {
    const link = route.link === undefined ? '' : ` on ${names.get(route.link) ?? `link ${route.link}`}`;
    const way =
      route.via === undefined ? `${route.type === 'unicast' ? '' : ` (${route.type})`}${link}` : ` via ${route.via}`;
    return `the route ${route.destination}${way}`;
  }
}

const isDefaultOrLinkLocal = (destination: string): boolean => {
  const { family, base, length } = parseCidr(destination, { strict: false });
  return length === 0 || (family === 6 && base >> 118n === 0x3fan) || (family === 6 && base >> 120n === 0xffn);
};
