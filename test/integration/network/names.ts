import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';
import type { Member } from '../support/member.ts';

/** Docker's embedded DNS on our networks. */
export async function names(t: Test, cluster: Cluster): Promise<void> {
  const one = cluster.member(1);
  await one.createNetwork('web', '--ipam-driver', 'vpc');
  await one.serve('server', '--network', 'web', '--network-alias', 'www', '--hostname', 'box7');
  await one.box('client', '--network', 'web');
  const address = await one.address('server');

  await t.test('containers find each other by name and alias', async (t) => {
    t.equal(await lookUp(one, 'client', 'server'), address);
    t.equal(await lookUp(one, 'client', 'www'), address);
    t.equal(await one.whoami('client', 'www'), await one.address('client'));
    t.equal(await lookUp(one, 'client', 'nobody-here'), undefined);
  });

  await t.test('other names are asked upstream', async (t) => {
    t.equal(await lookUp(one, 'client', 'world.test'), cluster.rig.world.v4);
    const { stdout } = await one.inside('client', 'wget', '-T', '3', '-qO-', 'http://world.test/');
    t.equal(stdout.trim(), one.host.v4);
  });

  await t.test('a new container of the name is found at its new address', async (t) => {
    await one.remove('server');
    t.equal(await lookUp(one, 'client', 'server'), undefined);
    await one.serve('server', '--network', 'web');
    t.equal(await lookUp(one, 'client', 'server'), await one.address('server'));
  });
}

/** The IPv4 address that a container's resolver finds. */
async function lookUp(member: Member, container: string, name: string): Promise<string | undefined> {
  const { stdout } = await member.inside(container, 'nslookup', '-type=a', name);
  const answer = stdout.slice(Math.max(0, stdout.indexOf('\n\n')));
  return /Address(?: 1)?:\s*(\d+\.\d+\.\d+\.\d+)\s*$/m.exec(answer)?.[1];
}
