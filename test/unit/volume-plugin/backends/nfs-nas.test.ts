import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { codeOf, context } from '../block/scratch.ts';
import { GIB, nasSite } from '../nfs/nas-world.ts';
import { shareCluster } from './nfs-cluster.ts';

t.setTimeout(60_000);

/** Hosts in two VPCs whose volumes are on file systems of a simulated NAS. */
const cluster = async (t: Test) => {
  const site = await nasSite(t);
  const shares = await shareCluster(t);
  const host = (n: number) => shares.host(n, { provider: site.host(n) });
  const [a, b] = [await host(0), await host(2)];
  const count = () => {
    const { fileSystems, mountTargets, accessGroups } = site.sim.nas.state();
    return { shares: fileSystems.length, targets: mountTargets.length, groups: accessGroups.length };
  };
  /** GiB that the folders of volumes may grow to. */
  const limits = () => [...site.sim.nas.limits].map(([folder, gib]) => `${folder.split(' ')[1]} ${gib}`).sort();
  return { ...site, ...shares, a, b, count, limits };
};

t.test('volumes that name no share are on one file system of the cluster, made by whoever is first', async (t) => {
  const { a, b, count } = await cluster(t);
  t.same(await a.list(), []);
  t.same(count(), { shares: 0, targets: 0, groups: 0 }, 'to look costs nothing');
  const [one, both] = await Promise.all([a.create('one'), a.create('both'), b.create('both'), b.create('two')]);
  t.same(count(), { shares: 1, targets: 2, groups: 0 });
  for (const host of [a, b]) t.same(await host.list(), ['both', 'one', 'two']);
  t.equal((await b.find('one'))?.name, one.name);
  await a.mount(both);
  writeFileSync(a.inside('both', 'hello'), 'from one VPC');
  await b.mount(both);
  t.equal(readFileSync(b.inside('both', 'hello'), 'utf8'), 'from one VPC');
  for (const host of [a, b]) await host.leave(both);
});

t.test('a volume names a file system, or a folder of one; one that is not there is said to be missing', async (t) => {
  const { sim, a, b, count } = await cluster(t);
  const { id } = sim.nas.make();
  const volume = await a.create('data', { share: `${id}:/` });
  t.equal((await b.create('data', { share: id })).name, 'data', 'the same, however it is written');
  await a.mount(volume);
  await a.leave(volume);
  t.equal(await codeOf(a.create('lost', { share: '00deadbeef' })), 'SHARE_MISSING');
  t.equal(await codeOf(a.create('wrong', { share: 'cpfs-0015abcd' })), 'OPTION_INVALID');
  t.equal((await a.create('plain', { share: '10.0.0.5:/export' })).name, 'plain', 'also of another server');
  t.equal(count().shares, 1);
});

t.test('a size limits the folder, until it is another one or the volume is removed', async (t) => {
  const { sim, a, b, limits } = await cluster(t);
  const volume = await a.create('data', { size: String(3 * GIB) });
  await a.create('free');
  t.same(limits(), ['/.drayage/volumes/data 3']);
  await b.backend.dayTwo?.resize(volume, String(5 * GIB), context());
  t.same(limits(), ['/.drayage/volumes/data 5']);
  t.match((await a.find('data'))?.options, { size: /^5/ });
  await a.remove(volume);
  t.same(limits(), []);
  t.same(await b.list(), ['free']);
  const { id } = sim.nas.make({ type: 'extreme' });
  t.equal(await codeOf(a.create('big', { share: id, size: '1GiB' })), 'OPTION_INVALID', 'Extreme ones limit none');
  t.same(await b.list(), ['free']);
});

t.test('while the mount target is being made, who asks is told so, and the next one gets the volume', async (t) => {
  const { sim, a, count } = await cluster(t);
  sim.nas.times.targetMs = Number.POSITIVE_INFINITY;
  const short = a.backend.create({ name: 'data', options: {}, making: 'once' }, context(1_000));
  await t.rejects(short, { code: 'STILL_WORKING', context: { reason: /mount target is pending/ } });
  const [[target] = ['']] = sim.nas.targets.entries();
  sim.nas.targets.change(target, { status: 'Active' });
  t.equal((await a.create('data')).name, 'data');
  t.same(count(), { shares: 1, targets: 1, groups: 0 });
});
