import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';

/** Who may open connections to a network's containers. */
export async function isolation(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const { office } = cluster.rig.world;
  const vpc = ['--ipam-driver', 'vpc'];
  const of = (pool: string): string[] => [...vpc, '--ipam-opt', `pool=${pool}`];
  await cluster.createNetwork('web', ...vpc);
  await one.createNetwork('shop', ...vpc);
  await one.createNetwork('other', ...of('10.80.0.0/12'));
  await two.createNetwork('allowing', ...of('10.96.0.0/12'), '-o', 'allow=10.64.0.0/12,192.168.7.0/24');
  await one.createNetwork('any', ...vpc, '-o', 'ingress=any');
  await one.createNetwork('pool', ...vpc, '-o', 'ingress=pool');
  await cluster.untilRouted();
  await Promise.all(['web', 'shop', 'other', 'any', 'pool'].map((name) => one.serve(name, '--network', name)));
  await Promise.all(['web', 'allowing'].map((name) => two.serve(name, '--network', name)));
  const at = async (name: string): Promise<string> => one.address(name);
  const peer = await two.address('web');

  await t.test('networks of one pool reach each other', async (t) => {
    t.equal(await one.whoami('web', await at('shop')), await at('web'), 'on one host');
    t.equal(await two.whoami('web', await at('shop')), peer, 'on two hosts');
  });

  await t.test('another pool does not get in, on one host and on two', async (t) => {
    const [web, other] = [await at('web'), await at('other')];
    const seen = await Promise.all([
      one.whoami('other', web),
      one.whoami('web', other),
      two.whoami('web', other),
      one.whoami('other', peer),
    ]);
    t.same(seen, ['', '', '', '']);
  });

  await t.test('allow= lets a pool in, in one direction', async (t) => {
    const allowing = await two.address('allowing');
    t.equal(await one.whoami('web', allowing), await at('web'));
    const others = await Promise.all([one.whoami('other', allowing), two.whoami('allowing', peer)]);
    t.same(others, ['', ''], 'but not others, nor the other way');
  });

  await t.test('ingress=vpc, the default: hosts get in, the world does not', async (t) => {
    t.equal(await two.whoamiFromHost(await at('web')), two.host.v4);
    t.equal(await cluster.whoamiFromWorld(await at('web'), office), '');
  });

  await t.test('ingress=any: the world gets in, other pools do not', async (t) => {
    t.equal(await cluster.whoamiFromWorld(await at('any'), office), office);
    t.equal(await two.whoamiFromHost(await at('any')), two.host.v4);
    t.equal(await one.whoami('other', await at('any')), '');
  });

  await t.test('ingress=pool: not even other hosts get in', async (t) => {
    const pool = await at('pool');
    t.same(await Promise.all([two.whoamiFromHost(pool), cluster.whoamiFromWorld(pool, office)]), ['', '']);
    t.equal(await two.whoami('web', pool), peer, 'but the pool does');
  });
}
