import t from 'tap';
import { compilePolicy, type NetworkPolicy, prefixSet } from '../../../../network-plugin/firewall/policy.ts';
import { renderTable } from '../../../../network-plugin/firewall/ruleset.ts';

const network = (id: string, prefix: string, more: Partial<NetworkPolicy> = {}): NetworkPolicy => ({
  id,
  prefixes: [prefix],
  pools: ['10.64.0.0/12'],
  allow: [],
  ingress: 'any',
  internal: false,
  masquerade: 'on',
  ...more,
});
const model = (...networks: NetworkPolicy[]) => ({ networks, local: [], otherPools: ['10.80.0.0/12'], ports: [] });

t.test('a prefix set holds no prefix twice and none that lies in another', (t) => {
  t.same(prefixSet(['10.64.3.0/24', 'fd00::/8', '10.64.0.0/12', '10.64.0.0/12', 'fd64::/48', '192.0.2.1/32']), {
    4: ['10.64.0.0/12', '192.0.2.1/32'],
    6: ['fd00::/8'],
  });
  t.same(prefixSet([]), { 4: [], 6: [] });
  t.throws(() => prefixSet(['10.64.3.1/24']), { code: 'CIDR_INVALID' });
  t.end();
});

t.test('an internal network lets nobody in from outside its pool and is never masqueraded', (t) => {
  const [rules] = compilePolicy(model(network('a', '10.64.1.0/24', { internal: true }))).networks;
  t.match(rules, { ingress: 'pool', masquerade: 'off', internal: true });
  t.end();
});

t.test('pools of networks count as known pools', (t) => {
  t.same(compilePolicy(model(network('a', '10.64.1.0/24'))).pools[4], ['10.64.0.0/12', '10.80.0.0/12']);
  t.end();
});

t.test('networks that could be taken for each other are refused', (t) => {
  t.throws(
    () => compilePolicy(model(network('aaaaaaaaaaaa1', '10.64.1.0/24'), network('aaaaaaaaaaaa2', '10.64.2.0/24'))),
    {
      code: 'FIREWALL',
      message: /same short id/,
    },
  );
  t.throws(() => compilePolicy(model(network('a', '10.64.1.0/24'), network('b', '10.64.1.0/25'))), {
    message: /overlaps/,
  });
  t.end();
});

t.test('equal models give equal tables, whatever their order', (t) => {
  const [a, b] = [network('a', '10.64.1.0/24'), network('b', '10.64.2.0/24')];
  t.equal(renderTable(model(a, b), []), renderTable(model(b, a), []));
  t.not(renderTable(model(a, b), []), renderTable(model(a), []));
  t.end();
});
