import { type Cidr, contains, type Family, parseCidr } from '../shared/cidr.ts';
import { CLOUD_SETTINGS } from '../shared/cloud/settings.ts';
import { LOG_LEVELS } from '../shared/log.ts';
import { option, type Parsed, parseOptions } from '../shared/options.ts';

/**
 * The plugin's name for `docker plugin` commands. The driver's is `vpc`: Docker registers a managed plugin called vpc as
 * `vpc:latest`, does not find that as `vpc`, and then does not look for a socket `vpc.sock` either.
 */
export const PLUGIN_NAME = 'drayage/network';

/** The plugin's settings (`docker plugin set drayage/network NAME=value`), the options of a network (`-o`) and of its IPAM. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;

const within = (low: number, high: number) => ({ min: low, max: high });

/** A prefix needs room for a gateway and a container. */
const PREFIX_LENGTH = within(8, 30);
const PREFIX6_LENGTH = within(16, 126);

const ofFamily = (family: Family) => ({
  validate: (cidr: Cidr) => (cidr.family === family ? undefined : `it is not an IPv${family} prefix`),
});

/** Settings of the `vpc` plugin; each is an environment variable of its configuration. */
export const SETTINGS = {
  provider: option.enum(['host', 'etcd', 'aws', 'aliyun', 'auto'], {
    default: 'host',
    help: "Where routes are kept: `host` for this machine alone, `etcd` for private hosts that route to each other, `aws` and `aliyun` for the VPC's route tables, `auto` for the cloud whose metadata service answers.",
  }),
  pool: option.cidr({
    default: parseCidr('10.64.0.0/12'),
    ...ofFamily(4),
    help: 'IPv4 pool that networks draw their prefixes from, the same on every host.',
  }),
  prefix: option.integer({ default: 24, ...PREFIX_LENGTH, help: "Length of a host's IPv4 prefix in the pool." }),
  pool6: option.cidr({
    default: parseCidr('fd64:6472:7961::/48'),
    ...ofFamily(6),
    help: 'IPv6 pool that networks with `--ipv6` draw their prefixes from.',
  }),
  prefix6: option.integer({ default: 64, ...PREFIX6_LENGTH, help: "Length of a host's IPv6 prefix in the pool." }),
  logLevel: option.enum(LOG_LEVELS, { default: 'info', help: "How much goes to the Docker daemon's log." }),
  reconcileInterval: option.duration({
    default: 30 * SECOND,
    ...within(SECOND, 60 * MINUTE),
    help: 'How often the kernel and the routes are compared with what should be, and repaired; jittered.',
  }),
  metrics: option.hostPort({
    example: '127.0.0.1:9464',
    help: 'Address for Prometheus metrics over HTTP; none when empty.',
  }),
  dryRun: option.boolean({
    default: false,
    help: 'Change nothing: networks are refused with what would be done, drift is only reported.',
  }),
  nodeName: option.text({
    ...within(1, 63),
    pattern: /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i,
    allowed: 'a host name',
    example: 'rack1-host7',
    help: "This host's name in the cluster; its host name when empty.",
  }),
  nodeIp: option.address({
    example: '192.168.1.17',
    help: 'The address that other hosts route to; that of the uplink when empty.',
  }),
  uplink: option.text({
    ...within(1, 15),
    pattern: /^[^\s/]+$/,
    allowed: 'the name of a network interface',
    example: 'eth0',
    help: 'The interface that leads to the other hosts; that of the default route when empty.',
  }),
  cluster: option.text({
    default: 'default',
    ...within(1, 63),
    pattern: /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i,
    allowed: 'letters, digits, dots and dashes',
    help: 'Hosts of one cluster share pools; clusters do not see each other.',
  }),
  etcdEndpoints: option.urlList({
    example: 'https://10.0.0.2:2379,https://10.0.0.3:2379',
    help: 'etcd servers, for PROVIDER=etcd.',
  }),
  etcdPrefix: option.text({
    default: '/drayage',
    pattern: /^(\/[\w.-]+)+$/,
    allowed: 'a key such as /drayage',
    help: 'Under which key everything is kept in etcd.',
  }),
  etcdUsername: option.text({ help: 'User name for etcd; none when empty.' }),
  etcdPassword: option.text({ sensitive: true, help: 'Password for etcd.' }),
  etcdCa: option.path({
    example: '/var/lib/drayage/tls/ca.pem',
    help: 'Certificate of the authority that signed etcd’s certificate. Files must be below /var/lib/drayage.',
  }),
  etcdCert: option.path({
    example: '/var/lib/drayage/tls/client.pem',
    help: 'Client certificate for etcd, if it asks for one. With ETCD_USERNAME it must have no common name: etcd refuses both at once.',
  }),
  etcdKey: option.path({
    example: '/var/lib/drayage/tls/client-key.pem',
    help: 'Private key of that client certificate.',
  }),
  etcdLease: option.duration({
    default: MINUTE,
    ...within(2 * SECOND, 24 * 60 * MINUTE),
    help: 'How long a host may be silent before its prefixes are free for others.',
  }),
  routeTables: option.textList({
    pattern: /^[\w-]{1,64}$/,
    allowed: 'the id of a route table',
    example: 'rtb-0a1b2c3d,rtb-4e5f6a7b',
    help: 'Route tables that routes go into, for a cloud; the same on every host. When empty: the main table of the VPC and every table that its subnets use.',
  }),
  peers: option.gatewayRoutes({
    default: [],
    example: '10.96.0.0/12 via vgw-0a1b2c3d',
    help: 'Parts of the pool that live elsewhere (another cloud, private hosts) and the gateway, peering or VPN that leads there: `CIDR via TARGET`, separated by commas. They are kept in the route tables, or in the kernel where TARGET is an address.',
  }),
  metadataAccess: option.enum(['deny', 'allow'], {
    default: 'deny',
    help: "May containers ask the cloud's metadata service? It hands the keys of the host's role to whoever asks.",
  }),
  ...CLOUD_SETTINGS,
} as const;

export type Settings = Parsed<typeof SETTINGS>;

/** The least and the most that links can have: what IPv6 asks for, and what the kernel takes. */
const MTU = within(1280, 65_535);

/** `docker network create -o NAME=value`, `driver_opts` in Compose. */
export const NETWORK_OPTIONS = {
  mtu: option.integer({ ...MTU, example: '8950', help: 'Largest packet in bytes; that of the uplink when left out.' }),
  masquerade: option.enum(['auto', 'on', 'off'], {
    default: 'auto',
    help: '`auto`: the host’s address is used towards destinations that no router knows as local; `on`: towards everything outside of the pool; `off`: never.',
  }),
  ingress: option.enum(['any', 'vpc', 'pool'], {
    default: 'vpc',
    help: 'Who may open connections to the containers, beside their own pool: anybody, what the provider calls local, or nobody. Published ports are open in any case.',
  }),
  allow: option.cidrList({
    default: [],
    example: '10.80.0.0/12,192.168.7.0/24',
    help: 'Prefixes beside the own pool (other pools, for instance) that may open connections to the containers.',
  }),
  roaming: option.cidrList({
    default: [],
    example: '10.64.200.0/24',
    help: 'Parts of the pool that no host takes as its prefix: with `--ip` a container keeps such an address on whichever host it runs.',
  }),
} as const;

export type NetworkOptions = Parsed<typeof NETWORK_OPTIONS>;

/** `docker network create --ipam-driver vpc --ipam-opt NAME=value`. */
export const IPAM_OPTIONS = {
  pool: option.cidr({
    example: '10.80.0.0/12',
    help: 'IPv4 pool to draw from; the setting POOL when left out.',
    ...ofFamily(4),
  }),
  prefix: option.integer({
    ...PREFIX_LENGTH,
    example: '25',
    help: "Length of this host's prefix in the pool; the setting PREFIX when left out.",
  }),
  pool6: option.cidr({
    example: 'fd80::/48',
    help: 'IPv6 pool to draw from; the setting POOL6 when left out.',
    ...ofFamily(6),
  }),
  prefix6: option.integer({
    ...PREFIX6_LENGTH,
    example: '80',
    help: "Length of this host's IPv6 prefix; the setting PREFIX6 when left out.",
  }),
} as const;

export const parseNetworkOptions = (input: Record<string, string>): NetworkOptions =>
  parseOptions(NETWORK_OPTIONS, input, 'network option');

export const parseIpamOptions = (input: Record<string, string>): Parsed<typeof IPAM_OPTIONS> =>
  parseOptions(IPAM_OPTIONS, input, 'IPAM option');

/** The pool that a subnet belongs to: the host's own where it lies in that, so that `--subnet` does not part networks. */
export const homePool = (subnet: Cidr, settings: Pick<Settings, 'pool' | 'pool6'>): Cidr =>
  [settings.pool, settings.pool6].find((pool) => contains(pool, subnet)) ?? subnet;
