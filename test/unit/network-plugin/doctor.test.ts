import t from 'tap';
import { type DoctorDeps, examine } from '../../../network-plugin/doctor.ts';
import { parseCidr } from '../../../shared/cidr.ts';
import { newContext } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';

const healthy: Record<string, string> = {
  'ipv4/ip_forward': '1',
  'ipv6/conf/all/forwarding': '1',
  'ipv4/conf/all/rp_filter': '0',
  'ipv4/conf/eth0/rp_filter': '2',
  'ipv4/conf/all/arp_ignore': '0',
};

const host = (changes: Partial<DoctorDeps> = {}, sysctls: Record<string, string> = {}): DoctorDeps => ({
  settings: { pool: parseCidr('10.64.0.0/12'), pool6: parseCidr('fd64:6472:7961::/48') },
  sysctl: { read: (key) => ({ ...healthy, ...sysctls })[key] },
  uplink: () => ({ index: 2, name: 'eth0', mtu: 9001, address: '10.0.1.7' }),
  uses: async () => [{ prefix: '10.0.1.0/24', kind: 'address', gateway: false, what: 'the subnet of eth0' }],
  foreignDrops: async () => [],
  routes: async () => [],
  ...changes,
});

const context = () => newContext(silentLogger, 1000);

const troubles = async (deps: DoctorDeps) =>
  (await examine(deps, context()))
    .filter(({ state }) => state !== 'good')
    .map(({ check, state }) => `${check} ${state}`);

t.test('a healthy host has no troubles, and each look says what it saw', async (t) => {
  const findings = await examine(host(), context());
  t.same(
    findings.filter(({ state }) => state !== 'good'),
    [],
  );
  t.match(
    findings.map(({ check }) => check),
    ['uplink', 'forwarding', 'forwarding', 'reverse path', 'arp_ignore', 'overlap', 'firewall'],
  );
  t.ok(findings.every(({ found }) => found.endsWith('.')));
});

t.test('each trouble is named with a remedy', async (t) => {
  t.same(await troubles(host({ uplink: () => undefined })), ['uplink bad']);
  t.same(await troubles(host({}, { 'ipv4/ip_forward': '0' })), ['forwarding bad']);
  t.same(await troubles(host({}, { 'ipv4/conf/eth0/rp_filter': '1' })), ['reverse path warning']);
  t.same(await troubles(host({}, { 'ipv4/conf/all/arp_ignore': '2' })), ['arp_ignore bad']);
  t.same(await troubles(host({ foreignDrops: async () => [{ table: 'inet firewalld', chain: 'filter_FORWARD' }] })), [
    'firewall warning',
  ]);
  const use = { prefix: '10.70.0.0/16', kind: 'address', gateway: false, what: 'the subnet of br-1a2b' } as const;
  const findings = await examine(host({ uses: async () => [use] }), context());
  t.match(
    findings.find(({ check }) => check === 'overlap'),
    {
      state: 'warning',
      found: /10\.70\.0\.0\/16, the subnet of br-1a2b/,
      remedy: /POOL/,
    },
  );
});

t.test('a route to a gateway that the pool lies in is no trouble', async (t) => {
  const use = { prefix: '10.0.0.0/8', kind: 'route', gateway: true, what: 'the route 10.0.0.0/8' } as const;
  t.same(await troubles(host({ uses: async () => [use] })), []);
});

t.test('IPv6 that is off is no trouble: a network that needs it turns it on', async (t) => {
  t.same(await troubles(host({}, { 'ipv6/conf/all/forwarding': '0' })), []);
});

t.test('a look that fails is a finding, and the others are made', async (t) => {
  const deps = host({
    routes: async () => {
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws', reason: 'no answer' });
    },
  });
  const findings = await examine(deps, context());
  t.match(findings.at(-1), { check: 'routes', state: 'unknown', found: /PROVIDER_UNREACHABLE/, remedy: /Check/ });
  t.ok(findings.some(({ check }) => check === 'forwarding'));
});
