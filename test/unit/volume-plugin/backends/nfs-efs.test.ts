import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { codeOf, context } from '../block/scratch.ts';
import { countIn, type EfsWorldConfig, efsWorld, foreign } from '../nfs/efs-world.ts';
import { shareCluster } from './nfs-cluster.ts';

t.setTimeout(60_000);

/** Hosts in two zones whose volumes are on file systems of a simulated EFS. */
const cluster = async (t: Test, config: EfsWorldConfig = {}) => {
  const world = await efsWorld(t, config);
  const shares = await shareCluster(t);
  const host = (n: number) => shares.host(n, { provider: world.host(n) });
  const [a, b] = [await host(0), await host(2)];
  return { ...world, ...shares, a, b };
};

t.test('volumes that name no share are on one file system of the cluster, made by whoever is first', async (t) => {
  const { aws, a, b } = await cluster(t);
  t.same(await a.list(), []);
  t.same(countIn(aws), { shares: 0, targets: 0 }, 'to look costs nothing');
  const [one, both] = await Promise.all([a.create('one'), a.create('both'), b.create('both'), b.create('two')]);
  t.same(countIn(aws), { shares: 1, targets: 2 });
  for (const host of [a, b]) t.same(await host.list(), ['both', 'one', 'two']);
  t.equal((await b.find('one'))?.name, one.name);
  await a.mount(both);
  writeFileSync(a.inside('both', 'hello'), 'from zone a');
  await b.mount(both);
  t.equal(readFileSync(b.inside('both', 'hello'), 'utf8'), 'from zone a');
  for (const host of [a, b]) await host.leave(both);
});

t.test('a volume names a file system, or a folder of one; one that is not there is said to be missing', async (t) => {
  const { aws, a, b } = await cluster(t);
  const id = foreign(aws);
  const volume = await a.create('data', { share: `${id}:/` });
  t.equal((await b.create('data', { share: id })).name, 'data', 'the same, however it is written');
  await a.mount(volume);
  await a.leave(volume);
  t.equal(await codeOf(a.create('lost', { share: 'fs-0123456789abcdef0' })), 'SHARE_MISSING');
  t.equal(await codeOf(a.create('point', { share: 'fsap-0123456789abcdef0' })), 'OPTION_INVALID');
  t.equal(countIn(aws).shares, 1);
});

t.test('a size is refused: EFS limits no folders', async (t) => {
  const { a } = await cluster(t);
  t.equal(await codeOf(a.create('data', { size: '1GiB' })), 'OPTION_INVALID');
});

t.test('while the mount target is being made, who asks is told so, and the next one gets the volume', async (t) => {
  const { aws, a } = await cluster(t, { fileTimes: { targetMs: Number.POSITIVE_INFINITY } });
  const short = a.backend.create({ name: 'data', options: {}, making: 'once' }, context(500));
  await t.rejects(short, { code: 'STILL_WORKING', context: { reason: /mount target .* eu-central-1a/ } });
  const [[target] = ['']] = aws.files.mountTargets.entries();
  aws.files.mountTargets.change(target, { state: 'available' });
  t.equal((await a.create('data')).name, 'data');
  t.same(countIn(aws), { shares: 1, targets: 1 });
});
