import { overlaps, parseCidr } from '../shared/cidr.ts';
import type { Context } from '../shared/context.ts';
import { asPluginError } from '../shared/errors.ts';
import type { Sysctl } from '../shared/kernel/sysctl.ts';
import type { Settings } from './options.ts';
import type { LocalUse } from './route/kernel.ts';
import type { Finding } from './route/provider.ts';
import type { Uplink } from './uplink.ts';

/** What `drayage doctor` looks at: this host, its kernel and firewall, and through the engine the provider. */

export interface DoctorDeps {
  readonly settings: Pick<Settings, 'pool' | 'pool6'>;
  readonly sysctl: Pick<Sysctl, 'read'>;
  uplink(): Uplink | undefined;
  uses(c: Context): Promise<readonly LocalUse[]>;
  /** Chains of others at the forward hook that drop what nobody accepts. */
  foreignDrops(c: Context): Promise<readonly { readonly table: string; readonly chain: string }[]>;
  /** The route engine's and the provider's own findings. */
  routes(c: Context): Promise<readonly Finding[]>;
}

type Look = (deps: DoctorDeps, c: Context) => Finding[] | Promise<Finding[]>;

const uplink: Look = (deps) => {
  const found = deps.uplink();
  const check = 'uplink';
  if (found === undefined) {
    const remedy =
      'Give the host a default route, or name the interface with docker plugin set drayage/network UPLINK=….';
    return [{ check, state: 'bad', found: 'No default route leads to other hosts.', remedy }];
  }
  const addresses = [found.address, found.address6].filter((one) => one !== undefined).join(' and ');
  return [{ check, state: 'good', found: `${found.name} with ${addresses || 'no address'}, MTU ${found.mtu}.` }];
};

const forwarding: Look = ({ sysctl }) =>
  [
    { family: 'IPv4', key: 'ipv4/ip_forward' },
    { family: 'IPv6', key: 'ipv6/conf/all/forwarding' },
  ].flatMap(({ family, key }): Finding[] => {
    const value = sysctl.read(key);
    const check = 'forwarding';
    if (value === undefined) return [];
    if (value !== '0') return [{ check, state: 'good', found: `${family} is forwarded.` }];
    // Docker itself turns it on for IPv4; for IPv6 the data path does so with the first network that needs it.
    if (family === 'IPv6') return [{ check, state: 'good', found: 'IPv6 is off; a network with --ipv6 turns it on.' }];
    const remedy = `Set net.${key.replaceAll('/', '.')} to 1 (sysctl -w), and see what turned it off.`;
    return [{ check, state: 'bad', found: `${family} is not forwarded: containers reach nothing.`, remedy }];
  });

/** A strict filter on the uplink drops packets that come by another way than answers would go. */
const reversePath: Look = (deps) => {
  const link = deps.uplink();
  if (link === undefined) return [];
  const values = ['all', link.name].map((name) => Number(deps.sysctl.read(`ipv4/conf/${name}/rp_filter`) ?? 0));
  const check = 'reverse path';
  if (Math.max(...values) !== 1) return [{ check, state: 'good', found: `${link.name} does not filter strictly.` }];
  const remedy = `With several uplinks set net.ipv4.conf.${link.name}.rp_filter to 2; with one leave it.`;
  return [{ check, state: 'warning', found: `${link.name} drops packets whose answers would go another way.`, remedy }];
};

/** The gateway of containers is an address that all links share, and that must be answered for on any of them. */
const arp: Look = ({ sysctl }) => {
  const value = Number(sysctl.read('ipv4/conf/all/arp_ignore') ?? 0);
  const check = 'arp_ignore';
  if (value < 2) return [{ check, state: 'good', found: `It is ${value}.` }];
  const remedy = 'Set net.ipv4.conf.all.arp_ignore to 0 or 1.';
  return [{ check, state: 'bad', found: `It is ${value}: containers get no answer from their gateway.`, remedy }];
};

const overlap: Look = async (deps, c) => {
  const check = 'overlap';
  const pools = [deps.settings.pool, deps.settings.pool6];
  const uses = (await deps.uses(c)).filter((use) => !use.gateway);
  const clashes = pools.flatMap((pool) =>
    uses.filter((use) => overlaps(pool, parseCidr(use.prefix))).map((use) => `${use.prefix}, ${use.what}`),
  );
  if (clashes.length === 0) {
    return [
      { check, state: 'good', found: `Nothing of this host lies in ${pools.map(({ text }) => text).join(' or ')}.` },
    ];
  }
  const remedy =
    'Prefixes there are passed over. Choose another POOL if hosts or services must be reached at those addresses.';
  return clashes.map((clash) => ({ check, state: 'warning', found: `The pool overlaps ${clash}.`, remedy }));
};

const filters: Look = async (deps, c) => {
  const check = 'firewall';
  const drops = await deps.foreignDrops(c);
  if (drops.length === 0) return [{ check, state: 'good', found: 'No other table drops forwarded packets.' }];
  const remedy =
    'Let the links dry* through there; with firewalld: firewall-cmd --permanent --zone=trusted --add-interface=dry+ and firewall-cmd --reload.';
  return drops.map(({ table, chain }) => ({
    ...{ check, state: 'warning', remedy },
    found: `Chain ${chain} of nftables table ${table} drops forwarded packets that nobody accepts in it.`,
  }));
};

const looks: Readonly<Record<string, Look>> = {
  uplink,
  forwarding,
  'reverse path': reversePath,
  arp_ignore: arp,
  overlap,
  firewall: filters,
  routes: async (deps, c) => [...(await deps.routes(c))],
};

/** Everything that was looked at, bad and good. A look that fails is a finding of its own. */
export async function examine(deps: DoctorDeps, c: Context): Promise<Finding[]> {
  const findings = await Promise.all(
    Object.entries(looks).map(async ([check, look]): Promise<Finding[]> => {
      try {
        return await look(deps, c);
      } catch (error) {
        const problem = asPluginError(error);
        return [{ check, state: 'unknown', found: problem.message, remedy: problem.fix }];
      }
    }),
  );
  return findings.flat();
}
