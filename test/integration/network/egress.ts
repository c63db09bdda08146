import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';
import type { Member } from '../support/member.ts';

/** Whose address the outside sees. */
export async function egress(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const { world } = cluster.rig;
  await cluster.createNetwork('auto', '--ipam-driver', 'vpc');
  await one.createNetwork('on', '--ipam-driver', 'vpc', '-o', 'masquerade=on');
  await one.createNetwork('off', '--ipam-driver', 'vpc', '-o', 'masquerade=off');
  await one.createNetwork('closed', '--ipam-driver', 'vpc', '--internal');
  await cluster.untilRouted();
  await Promise.all(['auto', 'on', 'off', 'closed'].map((name) => one.serve(name, '--network', name)));
  await two.serve('peer', '--network', 'auto');
  await Promise.all([one.serveOnHost(8099), two.serveOnHost(8099)]);
  const peer = await two.address('peer');
  const own = (name: string): Promise<string> => one.address(name);
  const host2 = `${two.host.v4}:8099`;

  await t.test('masquerade=auto: the world sees the host, what is local sees the container', async (t) => {
    t.equal(await seenAs(one, 'auto', world.v4), one.host.v4);
    t.equal(await seenAs(one, 'auto', world.office), one.host.v4, 'the office is no local address either');
    t.equal(await one.whoami('auto', host2), await own('auto'));
    t.equal(await one.whoami('auto', peer), await own('auto'));
  });

  await t.test('masquerade=on: only the pool sees the container', async (t) => {
    t.equal(await seenAs(one, 'on', world.v4), one.host.v4);
    t.equal(await one.whoami('on', host2), one.host.v4);
    t.equal(await one.whoami('on', peer), await own('on'));
  });

  await t.test('masquerade=off: everybody sees the container, and who has no way back does not answer', async (t) => {
    t.equal(await seenAs(one, 'off', world.office), await own('off'));
    t.equal(await seenAs(one, 'off', world.v4), '');
    t.equal(await one.whoami('off', host2), await own('off'));
    t.equal(await one.whoami('off', peer), await own('off'));
  });

  await t.test('--internal: the pool and nothing else, and the container is told at once', async (t) => {
    t.equal(await one.whoami('closed', peer), await own('closed'));
    for (const target of [world.v4, host2, `${one.host.v4}:8099`]) {
      const outcome = await one.inside('closed', 'wget', '-T', '2', '-qO-', `http://${target}/`);
      t.not(outcome.code, 0, `${target} is out of reach`);
      t.notMatch(outcome.stderr, /timed out/, outcome.stderr.trim());
    }
    t.equal(await two.whoamiFromHost(await own('closed')), '', 'and nobody but the pool gets in');
    t.equal(await two.whoami('peer', await own('closed')), peer);
  });
}

/** Which client address a server of the world (HTTP at `address`) answers to; '' without an answer. */
async function seenAs(member: Member, container: string, address: string): Promise<string> {
  const { stdout } = await member.inside(container, 'wget', '-T', '2', '-qO-', `http://${address}/`);
  return stdout.trim();
}
