import { execFileSync } from 'node:child_process';
import t from 'tap';
import { type Firewall, openFirewall } from '../../../../network-plugin/firewall/firewall.ts';
import type { FirewallModel, NetworkPolicy, PublishedPort } from '../../../../network-plugin/firewall/policy.ts';
import { type Context, newContext } from '../../../../shared/context.ts';
import { Netlink } from '../../../../shared/kernel/netlink.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { openLab } from './lab.ts';

/** What the firewall writes, and when it writes nothing. */

const c: Context = newContext(silentLogger, 120_000);
const lab = await openLab([]);
t.teardown(() => lab.close());

const network = (n: number, more: Partial<NetworkPolicy> = {}): NetworkPolicy => ({
  id: `${n}`.repeat(16),
  prefixes: [`10.64.${n}.0/24`, `fd64:6472:7961:${n}::/64`],
  pools: ['10.64.0.0/12', 'fd64:6472:7961::/48'],
  allow: [],
  ingress: 'vpc',
  internal: false,
  masquerade: 'auto',
  ...more,
});
const port = (hostPort: number, more: Partial<PublishedPort> = {}): PublishedPort => ({
  protocol: 6,
  hostIp: '',
  hostPort,
  targetIp: '10.64.1.2',
  targetPort: 80,
  endpoint: 'e'.repeat(16),
  network: '1'.repeat(16),
  ...more,
});
const model = (ports: readonly PublishedPort[] = []): FirewallModel => ({
  networks: [
    network(1),
    network(2, { ingress: 'any', masquerade: 'on', allow: ['0.0.0.0/0', '::/0', '192.0.2.0/24'] }),
    network(3, { internal: true, prefixes: ['10.64.3.0/24'], ingress: 'pool' }),
    network(4, { prefixes: ['fd64:6472:7961:4::/64'], pools: ['fd64:6472:7961::/48'], masquerade: 'off' }),
  ],
  local: ['10.0.0.0/24'],
  otherPools: ['10.80.0.0/12'],
  ports,
});

/** nftables' generation: every transaction that changes anything adds one (NFT_MSG_GETGEN, NFTA_GEN_ID). */
const generation = (): number => {
  using netfilter = new Netlink(12);
  const request = {
    type: (10 << 8) | 16,
    flags: 0,
    what: 'ask for the generation',
    write: (writer: { body(size: number, fill: () => void): void }) => writer.body(4, () => undefined),
  };
  return netfilter.ask(request, ({ body }) => body.readUInt32BE(8)) ?? -1;
};
const nft = (script: string): string => execFileSync('nft', ['-f', '-'], { input: script, encoding: 'utf8' });
const list = (): string => execFileSync('nft', ['list', 'table', 'inet', 'drayage'], { encoding: 'utf8' });

t.test('what is as it should be is not written again, also not by a new process', async (t) => {
  const ports = [
    port(8080),
    port(8080, { targetIp: 'fd64:6472:7961:1::2' }),
    port(53, { protocol: 17, hostIp: '127.0.0.1' }),
  ];
  await openFirewall().apply(model(ports), c);
  const before = generation();
  const firewall = openFirewall();
  await firewall.apply(model(ports), c);
  t.same(await firewall.check(model(ports), true, c), []);
  await firewall.publish(ports, c);
  await firewall.revoke([port(9999)], c);
  t.equal(generation(), before);
  await firewall.apply(model([]), c);
  t.not(generation(), before, 'the generation does tell');
});

t.test('SCTP ports are led like the others', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(model([port(38412, { protocol: 132 })]), c);
  t.match(list(), /sctp \. 38412 : 10\.64\.1\.2 \. 80/);
});

t.test('publishing and taking back change elements only', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(model(), c);
  const rules = list();
  const ports = [port(8080), port(8443, { targetPort: 443 }), port(8080, { hostIp: '10.0.0.1', protocol: 17 })];
  await firewall.publish(ports, c);
  t.match(list(), '10.0.0.1 . udp . 8080 : 10.64.1.2 . 80');
  t.same(await firewall.check(model(ports), false, c), [], 'as the model says');
  await firewall.revoke([ports[0] as PublishedPort], c);
  t.match(list(), '10.64.1.2 . 10.64.1.2', 'the container still publishes other ports and may reach itself');
  t.same(await firewall.check(model(ports.slice(1)), false, c), []);
  await firewall.revoke(ports, c);
  t.equal(list(), rules);
});

t.test(
  'a port that leads elsewhere is led here, and taking back leaves it alone when it leads elsewhere by then',
  async (t) => {
    const firewall = openFirewall();
    await firewall.apply(model([port(8080)]), c);
    const moved = port(8080, { targetIp: '10.64.1.3' });
    await firewall.publish([moved], c);
    await firewall.revoke([port(8080)], c);
    t.same(await firewall.check(model([moved]), false, c), []);
  },
);

t.test('publishing finds its way when somebody else changed the elements', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(model(), c);
  nft('add element inet drayage any4 { tcp . 8080 : 192.0.2.1 . 1 }');
  await firewall.publish([port(8080)], c);
  t.same(await firewall.check(model([port(8080)]), false, c), []);
  nft('delete element inet drayage any4 { tcp . 8080 }');
  await firewall.revoke([port(8080)], c);
  t.same(await firewall.check(model(), false, c), []);
});

for (const [what, script, drift] of [
  ['a deleted table', 'delete table inet drayage', /table inet drayage is missing/],
  ['a flushed chain', 'flush chain inet drayage receive', /rules in the nftables table inet drayage are not/],
  ['a foreign rule', 'insert rule inet drayage forward accept', /are not what the networks need/],
  ['a changed set', 'add element inet drayage pools4 { 172.20.0.0/16 }', /are not what the networks need/],
  ['a missing port', 'delete element inet drayage any4 { tcp . 8080 }', /lacks the port 6 \. 8080/],
  ['a foreign port', 'add element inet drayage any4 { tcp . 99 : 192.0.2.1 . 1 }', /nobody publishes: 6 \. 99/],
] as const) {
  t.test(`${what} is found, left alone in a dry run, and repaired`, async (t) => {
    const firewall = openFirewall();
    const wanted = model([port(8080)]);
    await firewall.apply(wanted, c);
    const before = list();
    nft(script);
    const changed = generation();
    const dry = await firewall.check(wanted, false, c);
    t.match(dry, [{ what: drift, repaired: false }]);
    t.equal(generation(), changed, 'the dry run wrote nothing');
    t.match(await firewall.check(wanted, true, c), [{ what: drift, repaired: true }]);
    t.equal(list(), before);
    t.same(await firewall.check(wanted, true, c), []);
  });
}

t.test('publishing without a table says so; taking back is content', async (t) => {
  const firewall: Firewall = openFirewall();
  await firewall.apply(model([port(8080)]), c);
  nft('delete table inet drayage');
  await firewall.revoke([port(8080)], c);
  await t.rejects(firewall.publish([port(8080)], c), {
    code: 'FIREWALL',
    message: /publish port 8080: the nftables table inet drayage is missing/,
  });
});

t.test('text that is no address, port or id never gets into a rule', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(model(), c);
  const before = generation();
  const hostile = '10.64.1.2 }; flush ruleset; #';
  for (const bad of [
    { ...model(), local: [hostile] },
    { ...model(), networks: [network(1, { id: 'a { } drop' })] },
    { ...model(), networks: [network(1, { allow: [`${hostile}/8`] })] },
  ]) {
    await t.rejects(firewall.apply(bad, c), { name: 'PluginError' });
  }
  for (const bad of [
    port(80, { targetIp: hostile }),
    port(80, { hostIp: hostile }),
    port(0),
    port(65_536),
    port(80.5),
    port(80, { targetPort: Number.NaN }),
    port(80, { hostIp: '::1' }),
  ]) {
    await t.rejects(firewall.publish([bad], c), { name: 'PluginError' });
  }
  t.equal(generation(), before);
});

t.test('networks whose prefixes overlap are refused with both names', async (t) => {
  const both = [network(1), network(5, { prefixes: ['10.64.0.0/16'] })];
  await t.rejects(
    openFirewall().apply({ ...model(), networks: both }, c),
    /10\.64\.0\.0\/16 overlaps 10\.64\.1\.0\/24 of network 1111/,
  );
});

t.test('remove takes out what is ours and leaves every other table as it was', async (t) => {
  nft('table inet other { chain forward { type filter hook forward priority 10; policy accept; counter; }\n }');
  const before = execFileSync('nft', ['list', 'table', 'inet', 'other'], { encoding: 'utf8' });
  const firewall = openFirewall();
  await firewall.apply(model([port(8080)]), c);
  await firewall.remove(c);
  await firewall.remove(c);
  t.equal(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), before);
});
