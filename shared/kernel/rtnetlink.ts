import { Netlink } from './netlink.ts';
import type { NetlinkOptions } from './netlink-socket.ts';

const NETLINK_ROUTE = 0;

/**
 * The kernel's links, addresses, routes, neighbours and rules of one network namespace. Requests are made by the
 * builders of the subject's file and run here, alone or together:
 *
 *     using rt = Rtnetlink.open();
 *     rt.run(setLink({ name: 'eth1' }, { up: true }), addAddress({ link: 3, address: '10.0.0.1/32' }));
 *     const routes = listRoutes(rt, { family: AF_INET, protocol: RTPROT_DRAYAGE });
 */
export class Rtnetlink extends Netlink {
  /** Throws KernelError. `netns`: descriptor of the namespace to work in (needs CAP_SYS_ADMIN); the own one if absent. */
  static open(options: NetlinkOptions = {}): Rtnetlink {
    return new Rtnetlink(NETLINK_ROUTE, options);
  }
}
