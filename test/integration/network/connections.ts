import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';

/** Several networks of one container, and networks that come and go while it runs. */
export async function connections(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await cluster.createNetwork('db', '--ipam-driver', 'vpc', '--ipam-opt', 'pool=10.80.0.0/12');
  await one.createNetwork('more', '--ipam-driver', 'vpc');
  await cluster.untilRouted();
  await one.serve('both', '--network', 'web');
  await two.serve('web', '--network', 'web');
  await two.serve('db', '--network', 'db');
  const [web, db] = await Promise.all([two.address('web'), two.address('db')]);
  const first = await one.address('both', 'web');

  await t.test(
    'a running container is connected to a second network, and speaks in each with that one’s address',
    async (t) => {
      t.equal(await one.whoami('both', db), '', 'before: another pool is closed');
      await one.must('network', 'connect', 'db', 'both');
      const second = await one.address('both', 'db');
      t.match(second, /^10\.80\./);
      t.equal(await one.whoami('both', db), second);
      t.equal(await one.whoami('both', web), first);
      t.equal(await two.whoami('web', first), web);
      t.equal(await two.whoami('db', second), db);
      await two.serveOnHost(8099);
      const seen = await one.whoami('both', `${two.host.v4}:8099`);
      t.ok([first, second].includes(seen), 'the rest goes out by the one that Docker chose as the gateway');
    },
  );

  await t.test('a second network of the same pool', async (t) => {
    await one.must('network', 'connect', 'more', 'both');
    const third = await one.address('both', 'more');
    t.equal(await two.whoami('web', third), web, 'it is reached at the new address');
    t.equal(await two.whoami('web', first), web, 'and at the old one');
  });

  await t.test('disconnected from its first network it goes on in the others', async (t) => {
    await one.must('network', 'disconnect', 'web', 'both');
    const second = await one.address('both', 'db');
    t.equal(await one.whoami('both', db), second);
    t.equal(await two.whoami('db', second), db);
    t.equal(await two.whoami('web', first), '', 'the old address is gone');
    t.match((await one.inside('both', 'ip', 'route')).stdout, /^default via 169\.254\.1\./m, 'and has a way out');
  });

  await t.test('connected again it is reached at its new address', async (t) => {
    await one.must('network', 'connect', 'web', 'both');
    t.equal(await two.whoami('web', await one.address('both', 'web')), web);
  });

  await t.test('the second network may come and go again, and a restart changes nothing', async (t) => {
    await one.must('network', 'disconnect', 'db', 'both');
    await one.must('network', 'connect', 'db', 'both');
    t.equal(await one.whoami('both', db), await one.address('both', 'db'));
    await one.must('restart', '-t', '0', 'both');
    t.equal(await one.whoami('both', db), await one.address('both', 'db'));
    const seen = await one.whoami('both', web);
    t.ok([await one.address('both', 'web'), await one.address('both', 'more')].includes(seen), `seen as ${seen}`);
  });

  await t.test('disconnected from all and connected to one', async (t) => {
    for (const network of ['web', 'db', 'more']) await one.must('network', 'disconnect', network, 'both');
    t.same(
      (await one.leftovers()).filter((line) => line.startsWith('link')),
      [],
    );
    await one.must('network', 'connect', 'web', 'both');
    t.equal(await two.whoami('web', await one.address('both', 'web')), web);
  });
}
