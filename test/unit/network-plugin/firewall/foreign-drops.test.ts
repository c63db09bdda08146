import t from 'tap';
import { dropTeller, type ForeignDrop, foreignDrops } from '../../../../network-plugin/firewall/foreign-drops.ts';
import { newContext } from '../../../../shared/context.ts';
import { openNftables } from '../../../../shared/kernel/nftables.ts';
import { type Logger, silentLogger } from '../../../../shared/log.ts';
import { makeNamespace } from '../../shared/kernel/namespaces.ts';

const c = newContext(silentLogger, 60_000);

/** What is found where these rules of others are. */
const found = async (t: { teardown(work: () => void): void }, ...rules: string[]) => {
  const nft = openNftables(makeNamespace(t).fd);
  t.teardown(() => nft.close());
  if (rules.length > 0) nft.run(rules.join('\n'), 'to test');
  return await foreignDrops(c, nft);
};

t.test('nothing is found where nobody drops', async (t) => {
  t.same(await found(t), []);
  t.same(
    await found(
      t,
      'add table inet others',
      'add chain inet others forward { type filter hook forward priority 0; policy accept; }',
      'add rule inet others forward ip saddr 192.0.2.7 drop',
      'add chain inet others input { type filter hook input priority 0; policy drop; }',
      'add chain inet others aside',
      'add rule inet others aside drop',
    ),
    [],
    'a host may close itself, and drop whom it does not like',
  );
});

t.test('a policy that drops forwarded packets is named with its table', async (t) => {
  t.same(
    await found(
      t,
      'add table inet hard',
      'add chain inet hard fw { type filter hook forward priority 10; policy drop; }',
      'add rule inet hard fw ct state established accept',
      'add table ip raw',
      'add chain ip raw PREROUTING { type filter hook prerouting priority -300; policy drop; }',
    ),
    [
      { table: 'inet hard', chain: 'fw' },
      { table: 'ip raw', chain: 'PREROUTING' },
    ],
  );
});

t.test('firewalld rejects with its last rule', async (t) => {
  t.same(
    await found(
      t,
      'add table inet firewalld',
      'add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }',
      'add rule inet firewalld filter_FORWARD ct state { established, related } accept',
      'add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited',
    ),
    [{ table: 'inet firewalld', chain: 'filter_FORWARD' }],
  );
});

t.test('a chain that lets containers through, iptables’ own and ours are not named', async (t) => {
  t.same(
    await found(
      t,
      'add table inet kind',
      'add chain inet kind fw { type filter hook forward priority 10; policy drop; }',
      'add rule inet kind fw iifname "dry*" accept',
      'add rule inet kind fw oifname "dry*" counter accept',
      'add table ip filter',
      'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }',
      'add table inet drayage',
      'add chain inet drayage forward { type filter hook forward priority 0; policy drop; }',
    ),
    [],
  );
});

t.test('each is said once in the log, and again when it was gone', async (t) => {
  const lines: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_text, fields) => void lines.push(String(fields?.['chain'])) };
  let drops: ForeignDrop[] = [];
  const tell = dropTeller(log, async () => drops);
  await tell();
  drops = [{ table: 'inet firewalld', chain: 'filter_FORWARD' }];
  await tell();
  await tell();
  drops = [];
  await tell();
  drops = [{ table: 'inet firewalld', chain: 'filter_FORWARD' }];
  await tell();
  t.same(lines, ['filter_FORWARD', 'filter_FORWARD']);
});
