import { execFileSync } from 'node:child_process';
import t from 'tap';
import { openFirewall } from '../../../../network-plugin/firewall/firewall.ts';
import type {
  FirewallModel,
  NetworkPolicy,
  PublishedPort,
  RoamingAddress,
} from '../../../../network-plugin/firewall/policy.ts';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { type Agent, HOST, OUTSIDE, openLab } from './lab.ts';

/** Addresses that containers have brought along: outside of the host's prefixes, and their network's all the same. */

const WEB: NetworkPolicy = {
  id: 'aaaaaaaaaaaaaaaa',
  prefixes: ['10.64.1.0/24', 'fd64:6472:7961:1::/64'],
  pools: ['10.64.0.0/12', 'fd64:6472:7961::/48'],
  allow: [],
  ingress: 'vpc',
  internal: false,
  masquerade: 'auto',
};
const OTHER: NetworkPolicy = {
  ...WEB,
  id: 'bbbbbbbbbbbbbbbb',
  prefixes: ['10.80.1.0/24', 'fd80:0:0:1::/64'],
  pools: ['10.80.0.0/12', 'fd80::/48'],
};
const A = { name: 'a', address: '10.64.1.2', address6: 'fd64:6472:7961:1::2' };
const B = { name: 'b', address: '10.80.1.2', address6: 'fd80:0:0:1::2' };
const R = { name: 'r', address: '10.64.200.7', address6: 'fd64:6472:7961:200::7' };
const TO_R = { 4: R.address, 6: R.address6 } as const;
const FAMILIES = [4, 6] as const;
const BLOCKED = 'TIMEOUT';

const c: Context = newContext(silentLogger, 120_000);
const of = (network: NetworkPolicy): RoamingAddress[] => FAMILIES.map((f) => ({ address: TO_R[f], network }));
const model = (
  web: NetworkPolicy,
  roaming: readonly RoamingAddress[],
  ports: readonly PublishedPort[] = [],
): FirewallModel => ({
  networks: [web, OTHER],
  local: ['10.0.0.0/24', 'fd00:a::/64'],
  otherPools: [],
  ports,
  roaming,
});
const nft = (...args: string[]): string => execFileSync('nft', args, { encoding: 'utf8' });

t.setTimeout(60_000);
const lab = await openLab([A, B, R]);
const firewall = openFirewall();
t.teardown(() => lab.close());
const { a, b, r } = lab.containers as Record<'a' | 'b' | 'r', Agent>;
for (const [agent, addresses] of [
  [a, [A.address, A.address6]],
  [r, [R.address, R.address6]],
  [lab.outside, Object.values(OUTSIDE).flatMap((each) => [each[4], each[6]])],
  [lab.host, [HOST[4], HOST[6]]],
] as const) {
  for (const address of addresses) await agent.listen('tcp', address, 80);
}

t.test(
  'once let in, it is reached by whom its network’s others are reached by, and reaches whom they reach',
  async (t) => {
    await firewall.apply(model(WEB, []), c);
    for (const f of FAMILIES) t.equal(await a.ask('tcp', TO_R[f], 80), BLOCKED, `IPv${f}: not before`);
    await firewall.admit(of(WEB), c);
    for (const f of FAMILIES) {
      t.equal(await a.ask('tcp', TO_R[f], 80), `r ${f === 4 ? A.address : A.address6}`, `IPv${f}: a neighbour`);
      t.equal(await lab.host.ask('tcp', TO_R[f], 80), `r ${HOST[f]}`, `IPv${f}: the host`);
      t.equal(await lab.outside.ask('tcp', TO_R[f], 80, OUTSIDE.peer[f]), `r ${OUTSIDE.peer[f]}`, `IPv${f}: the pool`);
      t.equal(await lab.outside.ask('tcp', TO_R[f], 80, OUTSIDE.world[f]), BLOCKED, `IPv${f}: the world`);
      t.equal(await b.ask('tcp', TO_R[f], 80), BLOCKED, `IPv${f}: another pool`);
      t.equal(await r.ask('tcp', f === 4 ? A.address : A.address6, 80), `a ${TO_R[f]}`, `IPv${f}: to a neighbour`);
      t.equal(await r.ask('tcp', OUTSIDE.peer[f], 80), `outside ${TO_R[f]}`, `IPv${f}: to the pool, unchanged`);
      t.equal(await r.ask('tcp', OUTSIDE.world[f], 80), `outside ${HOST[f]}`, `IPv${f}: to the world, masqueraded`);
    }
    await firewall.dismiss(of(WEB), c);
    for (const f of FAMILIES) t.equal(await a.ask('tcp', TO_R[f], 80), BLOCKED, `IPv${f}: not afterwards`);
  },
);

t.test('the policy of its network is kept to: ingress, masquerade, internal', async (t) => {
  const any: NetworkPolicy = { ...WEB, ingress: 'any', masquerade: 'off' };
  await firewall.apply(model(any, of(any)), c);
  t.equal(await lab.outside.ask('tcp', R.address, 80, OUTSIDE.world[4]), `r ${OUTSIDE.world[4]}`);
  t.equal(await r.ask('tcp', OUTSIDE.world[4], 80), `outside ${R.address}`);
  const on: NetworkPolicy = { ...WEB, masquerade: 'on' };
  await firewall.apply(model(on, of(on)), c);
  t.equal(await r.ask('tcp', OUTSIDE.vpc[4], 80), `outside ${HOST[4]}`);
  t.equal(await r.ask('tcp', OUTSIDE.peer[4], 80), `outside ${R.address}`);
  const shut: NetworkPolicy = { ...WEB, internal: true };
  await firewall.apply(model(shut, of(shut)), c);
  for (const to of [OUTSIDE.world[4], OUTSIDE.vpc[4], HOST[4]]) {
    t.equal(await r.ask('tcp', to, 80, undefined, 2500), 'EHOSTUNREACH', to);
  }
  t.match(await r.ask('tcp', A.address, 80), /^a /);
  t.equal(await lab.outside.ask('tcp', R.address, 80, OUTSIDE.vpc[4]), BLOCKED);
});

t.test('a published port leads to it', async (t) => {
  const port: PublishedPort = {
    ...{ protocol: 6, hostIp: '', hostPort: 8080, targetIp: R.address, targetPort: 80 },
    ...{ endpoint: 'e'.repeat(16), network: WEB.id },
  };
  await firewall.apply(model(WEB, of(WEB)), c);
  await firewall.publish([port], c);
  for (const [who, seen] of [
    [lab.outside, OUTSIDE.vpc[4]],
    [a, A.address],
    [lab.host, HOST[4]],
    [r, HOST[4]],
  ] as const) {
    t.equal(await who.ask('tcp', HOST[4], 8080), `r ${seen}`);
  }
  await firewall.revoke([port], c);
  t.same(await firewall.check(model(WEB, of(WEB)), false, c), [], 'taking the port back leaves the address in');
});

t.test(
  'letting in and taking out are elements: the rules stay as they are, and repeating it writes nothing',
  async (t) => {
    await firewall.apply(model(WEB, []), c);
    const rules = nft('-s', 'list', 'table', 'inet', 'drayage');
    await firewall.admit(of(WEB), c);
    const before = nft('-a', 'list', 'table', 'inet', 'drayage');
    await firewall.admit(of(WEB), c);
    await openFirewall().apply(model(WEB, of(WEB)), c);
    t.same(await openFirewall().check(model(WEB, of(WEB)), true, c), []);
    t.equal(nft('-a', 'list', 'table', 'inet', 'drayage'), before, 'handles and all');
    await firewall.dismiss(of(WEB), c);
    await firewall.dismiss(of(WEB), c);
    t.equal(nft('-s', 'list', 'table', 'inet', 'drayage'), rules);
  },
);

t.test('an address that is missing or too many is found and repaired', async (t) => {
  await firewall.apply(model(WEB, of(WEB)), c);
  nft('delete', 'element', 'inet', 'drayage', 'roam_to4', `{ ${R.address} }`);
  nft('add', 'element', 'inet', 'drayage', 'roam_internal4', '{ 10.64.201.9 }');
  const wrong = [
    { what: `the firewall lacks the address ${R.address} : goto to_aaaaaaaaaaaa`, repaired: true },
    { what: 'the firewall has an address that no container has: 10.64.201.9', repaired: true },
  ];
  t.same(await firewall.check(model(WEB, of(WEB)), true, c), wrong);
  t.same(await firewall.check(model(WEB, of(WEB)), true, c), []);
  t.equal(await a.ask('tcp', R.address, 80), `r ${A.address}`);
});

t.test('text that is no address never gets into a rule, nor one address into two networks', async (t) => {
  await t.rejects(firewall.admit([{ address: '10.64.200.7 }; flush ruleset; #', network: WEB }], c), {
    code: 'ADDRESS_INVALID',
  });
  await t.rejects(firewall.apply(model(WEB, [...of(WEB), ...of(OTHER)]), c), {
    code: 'FIREWALL',
    message: /10\.64\.200\.7/,
  });
});
