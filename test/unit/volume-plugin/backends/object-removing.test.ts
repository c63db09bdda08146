import t from 'tap';
import { codeOf } from '../block/scratch.ts';
import { until } from './nfs-cluster.ts';
import { bucketCluster, refusal } from './object-cluster.ts';

t.test('a removal that another host has ended meanwhile leaves what has the name since', async (t) => {
  const { host, keys, put } = await bucketCluster(t);
  const volume = await (await host(0)).create('uploads');
  await put('uploads/old');
  const half = await host(0, { failing: { removeAll: refusal('UNREACHABLE', 'cut') } });
  await codeOf(half.remove(volume));
  const b = await host(1);
  const later = async (): Promise<void> => {
    await b.remove({ ...volume, resumed: true });
    await b.create('uploads');
    await put('uploads/new');
  };
  const slow = await host(0, { before: { unfinished: later } });
  await slow.remove({ ...volume, resumed: true });
  t.same(await keys('assets', 'uploads/'), ['uploads/new']);
  t.same(await b.list(), ['uploads']);
});

t.test('a removal that its host has given up is carried on by one other host', async (t) => {
  const { host, keys, put } = await bucketCluster(t);
  const volume = await (await host(0)).create('uploads');
  await put('uploads/a');
  await put('elsewhere');
  const half = await host(0, { failing: { removeAll: refusal('UNREACHABLE', 'cut') } });
  await codeOf(half.remove(volume));
  const removers: number[] = [];
  const removing = (n: number) => async (): Promise<void> => {
    removers.push(n);
  };
  const others = await Promise.all([1, 2].map((n) => host(n, { before: { removeAll: removing(n) } })));
  const list = () => Promise.all(others.map((one) => one.list()));
  await list();
  t.same(await keys('assets', 'uploads/'), ['uploads/a'], 'not before it is old');
  const now = t.capture(Date, 'now', () => performance.timeOrigin + performance.now() + 16 * 60_000);
  await list();
  now.restore();
  await until(async () => (await keys('assets', '.drayage/volumes/')).length === 0);
  t.same(await keys('assets', 'uploads/'), []);
  t.equal(removers.length, 1);
});
