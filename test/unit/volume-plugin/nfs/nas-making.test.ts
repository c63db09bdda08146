import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { cancellable } from '../../../../shared/context.ts';
import type { NasProvider } from '../../../../volume-plugin/nfs/nas.ts';
import { context, type NasSite, nasSite, thrown, until } from './nas-world.ts';

t.setTimeout(60_000);

/** Its host dies while it makes a file system: NAS was asked for it, and nobody waits for the answer. */
const abandonedBy = async ({ sim, started }: NasSite, n: number): Promise<NasProvider> => {
  const provider = await started(n);
  const { context: c, cancel } = cancellable(context());
  const work = provider.ensure({}, c).catch((error: unknown) => error);
  await until(() => sim.count({ action: 'CreateFileSystem' }) > 0);
  cancel(new Error('gone'));
  await work;
  return provider;
};

t.test('a file system is made as it is asked for; the one that there is is not taken for another kind', async (t) => {
  const { sim, started } = await nasSite(t);
  const key = 'key-1';
  sim.nas.keys.add(key);
  const a = await started(0);
  t.equal((await thrown(a.ensure({ kind: 'capazity' }, context()))).code, 'OPTION_INVALID');
  t.match((await thrown(a.ensure({ kind: 'capazity' }, context()))).message, /did you mean capacity/);
  const id = await a.ensure({ kind: 'capacity', key }, context());
  t.match(sim.nas.state().fileSystems, [{ type: 'standard', storage: 'Capacity', encryption: 2, key }]);
  t.equal(await a.ensure({ kind: 'capacity', encrypted: true }, context()), id);
  for (const request of [{ kind: 'premium' }, { key: 'key-2' }]) {
    t.equal((await thrown(a.ensure(request, context()))).code, 'OPTION_INVALID');
  }
  const b = await started(1, { cluster: 'plain' });
  await b.ensure({}, context());
  t.match((await thrown(b.ensure({ encrypted: true }, context()))).message, /is not encrypted/);
});

t.test('hosts that have made one each take the same, and leave the others alone', async (t) => {
  // There is no room for the groups by which one keeps the others from it.
  const { sim, started } = await nasSite(t, { lagMs: 200, quotas: { nas_access_groups: 0 } });
  const options = { waits: { settleMs: 1_500, appearMs: 1_000 } };
  const hosts = await Promise.all([0, 1, 2, 0].map((n) => started(n, options)));
  const ids = await Promise.all(hosts.map((one) => one.ensure({}, context())));
  t.ok(sim.nas.state().fileSystems.length > 1, 'this is about several');
  t.equal(new Set(ids).size, 1);
  for (const one of hosts) t.same(await one.usual(context()), [ids[0]]);
});

t.test('of two that were made in one second all take the same, though one shows later', async (t) => {
  const { sim, started } = await nasSite(t, { lagMs: 500 }, { waits: { settleMs: 1_900 } });
  const a = await started(0);
  const like = sim.nas.make({ tags: { 'drayage:cluster': 'default', 'drayage:purpose': 'volumes' } });
  sim.nas.remove(like.id);
  const make = (id: string) => sim.nas.fileSystems.set(id, { ...like, id, status: 'Running' });
  make('f0f0f0f0f0');
  await pause(250);
  make('0a0a0a0a0a');
  await pause(300);
  t.same(await a.usual(context()), [], 'the one that shows is too young');
  t.equal(await a.ensure({}, context()), '0a0a0a0a0a:/');
});

t.test('who gave up while a file system was made makes no second one when NAS makes the first late', async (t) => {
  const site = await nasSite(t, {}, { waits: { appearMs: 3_000 } });
  const { sim } = site;
  sim.faults.delay('CreateFileSystem', 900, { times: 1 });
  const a = await abandonedBy(site, 0);
  t.same(sim.nas.state().fileSystems, []);
  await a.ensure({}, context());
  await pause(600);
  t.match(sim.nas.state(), { fileSystems: { length: 1 }, accessGroups: { length: 0 } });
});

t.test(
  'who is making something is told; what a dead host has left does not keep others from it for long',
  async (t) => {
    const site = await nasSite(t);
    const { sim, instance, started } = site;
    sim.faults.hang('CreateFileSystem');
    const a = await abandonedBy(site, 0);
    t.match(sim.nas.state().accessGroups, [{ description: new RegExp(`^drayage:${instance(0).id}:`) }]);
    const early = await thrown((await started(1)).ensure({}, context(1_500)));
    t.equal(early.code, 'STILL_WORKING');
    t.match(early.message, `host ${instance(0).id} is at it`);
    const b = await started(1, { waits: { staleMs: 500 } });
    const id = await b.ensure({}, context());
    t.equal(sim.nas.state().fileSystems.length, 1);
    t.same(sim.nas.state().accessGroups, [], 'nothing is left of it');
    t.equal(await a.ensure({}, context()), id);
  },
);

t.test('after a restart a host does not wait for itself', async (t) => {
  const site = await nasSite(t, {}, { waits: { staleMs: 60_000 } });
  site.sim.faults.hang('CreateFileSystem');
  await abandonedBy(site, 0);
  t.equal(site.sim.nas.state().accessGroups.length, 1);
  await (await site.started(0)).ensure({}, context());
  t.match(site.sim.nas.state(), { fileSystems: { length: 1 }, accessGroups: { length: 0 } });
});

t.test('where tags that come with a making are not taken, they are written afterwards', async (t) => {
  const { sim, started } = await nasSite(t);
  sim.nas.takesTags = false;
  const [a, b] = [await started(0), await started(1)];
  t.equal(await a.ensure({}, context()), await b.ensure({}, context()));
  t.match(sim.nas.state().fileSystems, [{ tags: { 'drayage:cluster': 'default', 'drayage:purpose': 'volumes' } }]);
});
