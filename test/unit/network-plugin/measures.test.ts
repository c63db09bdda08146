import t from 'tap';
import { Measures } from '../../../network-plugin/measures.ts';
import type { RouteStatus } from '../../../network-plugin/route/engine.ts';
import type { NetworkState } from '../../../network-plugin/state.ts';
import { MemoryStore } from '../../../shared/state/store.ts';

const status: RouteStatus = {
  ...{ provider: 'cloud', reachable: true, since: '2026-01-01T00:00:00.000Z', held: [], details: {} },
  lost: [{ prefix: '10.64.3.0/24', owner: 'host-2', other: '10.64.3.0/24' }],
  tables: [{ table: 'rtb-1', used: 41, limit: 50 }],
};

t.test('routes are measured as they are at the moment of asking', async (t) => {
  const measures = new Measures();
  let now = status;
  measures.watch(new MemoryStore<NetworkState>(), { status: () => now });
  const text = measures.registry.render();
  t.match(text, 'drayage_route_table_used{table="rtb-1"} 41\n');
  t.match(text, 'drayage_route_table_limit{table="rtb-1"} 50\n');
  t.match(text, 'drayage_network_prefixes_lost 1\n');
  t.match(text, 'drayage_network_provider_reachable{provider="cloud"} 1\n');
  now = { ...status, tables: [{ table: 'rtb-1', used: 42, limit: 50 }] };
  t.match(measures.registry.render(), 'drayage_route_table_used{table="rtb-1"} 42\n');
});
