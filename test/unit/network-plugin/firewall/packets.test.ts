import { writeFileSync } from 'node:fs';
import t from 'tap';
import { openFirewall } from '../../../../network-plugin/firewall/firewall.ts';
import type { FirewallModel, NetworkPolicy, PublishedPort } from '../../../../network-plugin/firewall/policy.ts';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { type Agent, HOST, type Lab, OUTSIDE, openLab } from './lab.ts';

/** Real packets between containers, their host and the world, through the rules of each policy. */

const FIRST = { 4: '10.64.0.0/12', 6: 'fd64:6472:7961::/48' };
const SECOND = { 4: '10.80.0.0/12', 6: 'fd80::/48' };

const WEB: NetworkPolicy = {
  id: 'aaaaaaaaaaaaaaaa',
  prefixes: ['10.64.1.0/24', 'fd64:6472:7961:1::/64'],
  pools: [FIRST[4], FIRST[6]],
  allow: [],
  ingress: 'vpc',
  internal: false,
  masquerade: 'auto',
};
const OTHER: NetworkPolicy = {
  ...WEB,
  id: 'bbbbbbbbbbbbbbbb',
  prefixes: ['10.80.1.0/24', 'fd80:0:0:1::/64'],
  pools: [SECOND[4], SECOND[6]],
};

const A = { name: 'a', address: '10.64.1.2', address6: 'fd64:6472:7961:1::2' };
const A2 = { name: 'a2', address: '10.64.1.3', address6: 'fd64:6472:7961:1::3' };
const B = { name: 'b', address: '10.80.1.2', address6: 'fd80:0:0:1::2' };
const TO_A = { 4: A.address, 6: A.address6 } as const;
const TO_B = { 4: B.address, 6: B.address6 } as const;
const FAMILIES = [4, 6] as const;
const BLOCKED = 'TIMEOUT';

const c: Context = newContext(silentLogger, 300_000);
const model = (networks: readonly NetworkPolicy[], ports: readonly PublishedPort[] = []): FirewallModel => ({
  networks,
  local: ['10.0.0.0/24', 'fd00:a::/64'],
  otherPools: [],
  ports,
});
const port = (
  protocol: 6 | 17 | 132,
  hostIp: string,
  hostPort: number,
  targetIp: string,
  targetPort = 80,
): PublishedPort => ({
  protocol,
  hostIp,
  hostPort,
  targetIp,
  targetPort,
  endpoint: 'e'.repeat(16),
  network: WEB.id,
});

t.setTimeout(120_000);
const lab: Lab = await openLab([A, A2, B]);
const firewall = openFirewall();
t.teardown(() => lab.close());
const { a, a2, b } = lab.containers as Record<'a' | 'a2' | 'b', Agent>;
for (const { agent, addresses } of [
  { agent: a, addresses: [A.address, A.address6] },
  { agent: a2, addresses: [A2.address, A2.address6] },
  { agent: b, addresses: [B.address, B.address6] },
  { agent: lab.outside, addresses: Object.values(OUTSIDE).flatMap((each) => [each[4], each[6]]) },
  { agent: lab.host, addresses: [HOST[4], HOST[6], '127.0.0.1', '::1'] },
]) {
  for (const address of addresses) {
    await agent.listen('tcp', address, 80);
    await agent.listen('udp', address, 53);
  }
}

t.test('a container is reached by its pool, its host and the VPC, and by nobody else', async (t) => {
  await firewall.apply(model([WEB, OTHER]), c);
  for (const f of FAMILIES) {
    t.equal(
      await a2.ask('tcp', TO_A[f], 80),
      `a ${f === 4 ? A2.address : A2.address6}`,
      `IPv${f}: a neighbour, unchanged source`,
    );
    t.equal(await lab.host.ask('tcp', TO_A[f], 80), `a ${HOST[f]}`, `IPv${f}: the host`);
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.peer[f]), `a ${OUTSIDE.peer[f]}`, `IPv${f}: the pool`);
    t.equal(await lab.outside.ask('udp', TO_A[f], 53, OUTSIDE.vpc[f]), `a ${OUTSIDE.vpc[f]}`, `IPv${f}: the VPC`);
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.world[f]), BLOCKED, `IPv${f}: the world`);
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.stranger[f]), BLOCKED, `IPv${f}: another pool`);
    t.equal(await b.ask('tcp', TO_A[f], 80), BLOCKED, `IPv${f}: another pool on this host`);
    t.equal(await b.ask('udp', TO_A[f], 53), BLOCKED, `IPv${f}: another pool on this host, UDP`);
  }
});

t.test('ingress=any lets the world in but no other pool; ingress=pool keeps the VPC out', async (t) => {
  await firewall.apply(model([{ ...WEB, ingress: 'any' }, OTHER]), c);
  for (const f of FAMILIES) {
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.world[f]), `a ${OUTSIDE.world[f]}`);
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.stranger[f]), BLOCKED);
  }
  await firewall.apply(model([{ ...WEB, ingress: 'pool' }, OTHER]), c);
  for (const f of FAMILIES) {
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.vpc[f]), BLOCKED);
    t.equal(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.peer[f]), `a ${OUTSIDE.peer[f]}`);
  }
});

t.test('allow= opens a network to another pool, in one direction', async (t) => {
  await firewall.apply(model([{ ...WEB, allow: [SECOND[4], SECOND[6]] }, OTHER]), c);
  for (const f of FAMILIES) {
    t.equal(await b.ask('tcp', TO_A[f], 80), `a ${TO_B[f]}`);
    t.equal(await a.ask('tcp', TO_B[f], 80), BLOCKED);
  }
  await firewall.apply(model([{ ...WEB, allow: ['0.0.0.0/0', '::/0'] }, OTHER]), c);
  for (const f of FAMILIES) t.match(await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.world[f]), /^a /);
});

t.test('containers do not get at the cloud’s metadata service unless they may, and their host does', async (t) => {
  const { metadata, vendor, world } = OUTSIDE;
  for (const internal of [false, true]) {
    await firewall.apply(model([{ ...WEB, internal, allow: ['0.0.0.0/0', '::/0'] }, OTHER]), c);
    for (const address of [metadata[4], metadata[6], vendor[4]]) {
      t.equal(await a.ask('tcp', address, 80), BLOCKED, address);
      // Google's name server, for one, is where its metadata are.
      if (address === metadata[4] && !internal) t.match(await a.ask('udp', address, 53), /^outside /, 'names');
      t.equal(
        await lab.host.ask('tcp', address, 80, HOST[address === metadata[6] ? 6 : 4]),
        `outside ${HOST[address === metadata[6] ? 6 : 4]}`,
      );
    }
    for (const address of [vendor[6], world[4], world[6]])
      t.match(await a.ask('tcp', address, 80), /^outside /, address);
  }
  await firewall.apply({ ...model([WEB]), metadata: 'allow' }, c);
  for (const address of [metadata[4], metadata[6], vendor[4]]) t.match(await a.ask('tcp', address, 80), /^outside /);
  t.match(await firewall.check(model([WEB]), true, c), [{ repaired: true }]);
  t.equal(await a.ask('tcp', metadata[4], 80), BLOCKED);
});

t.test('an internal network reaches its pool and nothing else, not even its host, and is told so', async (t) => {
  await firewall.apply(model([{ ...WEB, internal: true, ingress: 'any' }, OTHER]), c);
  const refused = { 4: 'EHOSTUNREACH', 6: 'EACCES' } as const;
  // An ICMP answer that comes while connect() still holds the socket only counts at the next try, a second later.
  const soon = (to: string): Promise<string> => a.ask('tcp', to, 80, undefined, 2500);
  for (const f of FAMILIES) {
    t.match(await a.ask('tcp', f === 4 ? A2.address : A2.address6, 80), /^a2 /, `IPv${f}: a neighbour`);
    t.match(await a.ask('tcp', OUTSIDE.peer[f], 80), /^outside /, `IPv${f}: the pool elsewhere`);
    t.equal(await soon(OUTSIDE.world[f]), refused[f], `IPv${f}: the world`);
    t.equal(await soon(OUTSIDE.vpc[f]), refused[f], `IPv${f}: the VPC`);
    t.equal(await soon(HOST[f]), refused[f], `IPv${f}: the host`);
    t.equal(
      await lab.outside.ask('tcp', TO_A[f], 80, OUTSIDE.vpc[f]),
      BLOCKED,
      `IPv${f}: and nobody outside reaches it`,
    );
    t.match(await lab.host.ask('tcp', TO_A[f], 80), /^a /, `IPv${f}: but its host does`);
    t.match(await b.ask('tcp', OUTSIDE.world[f], 80), /^outside /, `IPv${f}: other networks are as before`);
  }
});

t.test(
  'masquerade=auto hides containers from the world only; on: from all but the pool; off: from nobody',
  async (t) => {
    const seen = async (f: 4 | 6): Promise<Record<string, string>> => ({
      world: await a.ask('tcp', OUTSIDE.world[f], 80),
      vpc: await a.ask('tcp', OUTSIDE.vpc[f], 80),
      peer: await a.ask('udp', OUTSIDE.peer[f], 53),
      stranger: await a.ask('udp', OUTSIDE.stranger[f], 53),
    });
    const as = (f: 4 | 6, hidden: readonly string[]): Record<string, string> =>
      Object.fromEntries(
        ['world', 'vpc', 'peer', 'stranger'].map((who) => [who, `outside ${hidden.includes(who) ? HOST[f] : TO_A[f]}`]),
      );
    for (const [masquerade, hidden] of [
      ['auto', ['world']],
      ['on', ['world', 'vpc', 'stranger']],
      ['off', []],
    ] as const) {
      await firewall.apply(model([{ ...WEB, masquerade }, OTHER]), c);
      for (const f of FAMILIES) t.same(await seen(f), as(f, hidden), `IPv${f}: ${masquerade}`);
    }
  },
);

t.test(
  'a published port is reached from everywhere: outside, another pool, the host, its loopback, the container',
  async (t) => {
    await firewall.apply(model([{ ...WEB, ingress: 'pool' }, OTHER]), c);
    await firewall.publish(
      [6, 17].flatMap((protocol) =>
        FAMILIES.map((f) => port(protocol === 6 ? 6 : 17, '', 8080, TO_A[f], protocol === 6 ? 80 : 53)),
      ),
      c,
    );
    for (const f of FAMILIES) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const ask = (who: Agent, from?: string): Promise<string> => who.ask(protocol, HOST[f], 8080, from);
        const named = `IPv${f} ${protocol}`;
        t.equal(
          await ask(lab.outside, OUTSIDE.world[f]),
          `a ${OUTSIDE.world[f]}`,
          `${named}: the world, with its own address`,
        );
        t.equal(await ask(lab.outside, OUTSIDE.stranger[f]), `a ${OUTSIDE.stranger[f]}`, `${named}: another pool`);
        t.equal(await ask(b), `a ${TO_B[f]}`, `${named}: another pool on this host`);
        t.equal(await ask(a2), `a ${f === 4 ? A2.address : A2.address6}`, `${named}: a neighbour`);
        t.equal(await ask(lab.host), `a ${HOST[f]}`, `${named}: the host`);
        t.equal(await ask(a), `a ${HOST[f]}`, `${named}: the container itself`);
      }
    }
    t.equal(await lab.host.ask('tcp', '127.0.0.1', 8080), `a ${HOST[4]}`, 'the IPv4 loopback');
    t.equal(await lab.host.ask('udp', '127.0.0.1', 8080), `a ${HOST[4]}`, 'the IPv4 loopback, UDP');
    t.equal(
      await lab.host.ask('tcp', '127.0.0.1', 80),
      'host 127.0.0.1',
      "other ports of the loopback are the host's own",
    );
  },
);

t.test('a port published on one address is on no other, and on 127.0.0.1 not to be had from outside', async (t) => {
  await firewall.apply(
    model(
      [WEB, OTHER],
      [port(6, '127.0.0.1', 8081, A.address), port(6, HOST[4], 8082, A.address), port(6, HOST[6], 8082, A.address6)],
    ),
    c,
  );
  t.match(await lab.host.ask('tcp', '127.0.0.1', 8081), /^a /);
  t.match(await lab.outside.ask('tcp', HOST[4], 8081), 'ECONNREFUSED');
  t.match(await lab.host.ask('tcp', HOST[4], 8082), /^a /);
  t.match(await lab.outside.ask('tcp', HOST[4], 8082, OUTSIDE.world[4]), /^a /);
  t.match(await lab.outside.ask('tcp', HOST[6], 8082, OUTSIDE.world[6]), /^a /);
  t.match(await lab.host.ask('tcp', '127.0.0.1', 8082), 'ECONNREFUSED');
});

/** Lets a namespace send packets for 127.0.0.1 over its link, and take answers from there, as an attacker would. */
const sendLoopbackOut = (name: string, gateway: string): void => {
  const namespace = `drt${process.pid}x${name}`;
  lab.run('nsenter', `--net=/run/netns/${namespace}`, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1');
  for (const words of [
    `route add 127.0.0.1/32 via ${gateway} table 7`,
    'rule add pref 0 to 127.0.0.1 table 7',
    'rule add pref 1 table local',
    'rule delete pref 0 table local',
  ]) {
    lab.run('ip', '-n', namespace, ...words.split(' '));
  }
};

t.test("the host's loopback is not to be had from a container or the wire, published or not", async (t) => {
  await firewall.apply(model([WEB, OTHER], [port(6, '127.0.0.1', 8081, A.address)]), c);
  sendLoopbackOut('out', HOST[4]);
  sendLoopbackOut('b', '169.254.1.1');
  // Other software (kube-proxy) may have opened the uplink for such packets.
  writeFileSync('/proc/sys/net/ipv4/conf/eth0/route_localnet', '1');
  t.match(
    await lab.outside.ask('tcp', '127.0.0.1', 80, OUTSIDE.vpc[4]),
    /^host /,
    'such packets do get through the wire',
  );
  t.equal(
    await lab.outside.ask('tcp', '127.0.0.1', 8081, OUTSIDE.vpc[4]),
    'ECONNREFUSED',
    'but a published port is not there',
  );
  t.equal(await b.ask('tcp', '127.0.0.1', 8081, B.address), BLOCKED, 'nor for a container');
  t.equal(await b.ask('tcp', '127.0.0.1', 80, B.address), BLOCKED, "nor any service of the host's loopback");
  t.match(await lab.host.ask('tcp', '127.0.0.1', 8081), /^a /, 'the host itself reaches it');
});

/** UDP packets that arrived outside, by the kernel's count. */
const arrived = (): number => {
  const text = lab.run('nsenter', `--net=/run/netns/drt${process.pid}xout`, 'cat', '/proc/net/snmp', '/proc/net/snmp6');
  const four = [...text.matchAll(/^Udp: (\d+)/gm)].map(([, count]) => Number(count));
  const six = [...text.matchAll(/^Udp6InDatagrams\s+(\d+)/gm)].map(([, count]) => Number(count));
  return [...four, ...six].reduce((sum, count) => sum + count, 0);
};

t.test('a container cannot speak with another source address', async (t) => {
  await firewall.apply(model([{ ...WEB, ingress: 'any', masquerade: 'off' }, OTHER]), c);
  const namespace = `drt${process.pid}xb`;
  for (const [f, spoofed, whose] of [
    [4, '10.64.1.77', 'of nobody'],
    [6, 'fd64:6472:7961:1::77', 'of nobody'],
    [4, A2.address, 'of another container'],
    [6, A2.address6, 'of another container'],
    [4, OUTSIDE.vpc[4], 'of another host'],
  ] as const) {
    const bits = f === 4 ? ['32'] : ['128'];
    lab.run(
      'ip',
      '-n',
      namespace,
      'address',
      'add',
      `${spoofed}/${bits}`,
      'dev',
      'eth0',
      ...(f === 6 ? ['nodad'] : []),
    );
    const before = arrived();
    t.equal(await b.ask('udp', OUTSIDE.world[f], 53, spoofed), BLOCKED, `IPv${f}: an address ${whose}`);
    t.equal(arrived(), before, 'no packet of it left the host');
  }
  const before = arrived();
  t.match(await b.ask('udp', OUTSIDE.world[4], 53, B.address), /^outside /);
  t.equal(arrived(), before + 1, 'with its own address it does');
});

t.test('UDP clients that keep sending follow a port to its new container, and lose one that is gone', async (t) => {
  await firewall.apply(model([WEB, OTHER]), c);
  const early = await lab.outside.open('udp', HOST[4], 53, OUTSIDE.world[4]);
  t.match(await lab.outside.say(early), /^host /, 'nothing is published yet: the host answers');
  const first = port(17, '', 53, A.address, 53);
  await firewall.publish([first], c);
  t.match(await lab.outside.say(early), /^a /, 'published: the same socket reaches the container');
  await firewall.revoke([first], c);
  await firewall.publish([port(17, '', 53, A2.address, 53)], c);
  t.match(await lab.outside.say(early), /^a2 /, 'published again by another container');
  await firewall.revoke([port(17, '', 53, A2.address, 53)], c);
  t.match(await lab.outside.say(early), /^host /, 'taken back');
});

t.test('connections live on while the rules are loaded anew', async (t) => {
  const published = [port(6, '', 8080, A.address)];
  await firewall.apply(model([WEB, OTHER], published), c);
  const through = await lab.outside.open('tcp', HOST[4], 8080, OUTSIDE.world[4]);
  const out = await a.open('tcp', OUTSIDE.world[4], 80);
  const aside = await a2.open('tcp', A.address, 80);
  for (const ingress of ['pool', 'any', 'vpc'] as const) {
    await firewall.apply(model([{ ...WEB, ingress }, OTHER], published), c);
    t.match(await lab.outside.say(through), /^a /);
    t.match(await a.say(out), `outside ${HOST[4]}`);
    t.match(await a2.say(aside), /^a /);
  }
});
