import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { openNftables } from '../../../../shared/kernel/nftables.ts';
import { monitorRules, type RuleEvent } from '../../../../shared/kernel/rule-monitor.ts';
import { makeNamespace } from './namespaces.ts';

t.test('tables, chains and rules that are deleted are told of, with their table', async (t) => {
  const { fd } = makeNamespace(t);
  const nft = openNftables(fd);
  t.teardown(() => nft.close());
  nft.run('add table inet one; add chain inet one c; add rule inet one c accept; add table ip6 two', 'to test');
  const events: RuleEvent[] = [];
  const monitor = monitorRules((event) => events.push(event), { netns: fd });
  t.teardown(() => monitor.close());
  const after = async (script: string): Promise<RuleEvent[]> => {
    const end = performance.now() + 3_000;
    nft.run(script, 'to test');
    while (events.length === 0 && performance.now() < end) await sleep(10);
    return events.splice(0);
  };
  t.same(await after('add rule inet one c drop; flush chain inet one c; delete chain inet one c'), [
    { kind: 'deleted', what: 'rule', family: 'inet', table: 'one' },
    { kind: 'deleted', what: 'rule', family: 'inet', table: 'one' },
    { kind: 'deleted', what: 'chain', family: 'inet', table: 'one' },
  ]);
  t.same(await after('delete table ip6 two'), [{ kind: 'deleted', what: 'table', family: 'ip6', table: 'two' }]);
});
