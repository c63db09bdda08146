/** The rig's address plan. It is the same in every rig: each has its namespaces to itself, and nothing reaches the machine's own. */

/** Subnet of the hosts, as a VPC's subnet: nothing in it overlaps the plugin's default pools. */
export const HOSTS4 = '10.250.0.0/24';
export const HOSTS6 = 'fd00:d7a6:1::/64';
export const GATEWAY4 = '10.250.0.1';
export const GATEWAY6 = 'fd00:d7a6:1::1';
/** etcd listens here, in the router's namespace. */
export const ETCD_ADDRESS = '10.250.0.2';
/** A simulated cloud's API answers here, in the router's namespace. */
export const CLOUD_ADDRESS = '10.250.0.3';
/** A simulated object store answers here, in the router's namespace. */
export const STORE_ADDRESS = '10.250.0.4';
/** What stands for the Internet: it has no way back to anything but the hosts' subnet. */
export const WORLD4 = '203.0.113.10';
export const WORLD6 = '2001:db8:113::10';
export const WORLD_GATEWAY4 = '203.0.113.1';
export const WORLD_GATEWAY6 = '2001:db8:113::1';
/** What stands for an office behind a VPN: it answers to any address that the router has a route for. */
export const OFFICE4 = '172.31.250.10';

/** Addresses of host `n`, counted from 1. */
export function hostAddresses(n: number): { v4: string; v6: string } {
  return { v4: `10.250.0.${10 + n}`, v6: `fd00:d7a6:1::${(10 + n).toString(16)}` };
}
