// @timeout 5m
// The plugin's memory is damaged, put back, or lost.
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Cluster } from '../integration/support/cluster.ts';
import { refused } from '../integration/support/refusal.ts';
import { until } from '../rig/command.ts';
import { holdings, starts, untilBack } from './support/holdings.ts';

t.setTimeout(300_000);

t.test('state that is damaged or lost', async (t) => {
  const cluster = await Cluster.for(t, { hosts: 1, provider: 'host', env: { LOG_LEVEL: 'debug' } });
  const member = cluster.member(1);
  const { plugin, host } = member;
  const state = join(host.stateFolder, 'network/state');
  await member.createNetwork('web', '--ipam-driver', 'vpc');
  await member.createNetwork('fixed', '--subnet', '10.70.3.0/24');
  await member.serve('left', '--network', 'web', '-p', '8080:80');
  await member.box('right', '--network', 'web');
  await member.box('other', '--network', 'fixed');
  const address = await member.address('left');
  const talk = async (): Promise<boolean> =>
    (await member.pings('right', address)) && (await cluster.whoamiFromWorld(`${host.v4}:8080`)) !== '';
  const before = await holdings(member);
  const good = join(host.machine.folder, 'good');

  await t.test('a damaged journal is refused with how to go on, and running containers do not notice', async (t) => {
    await plugin.disable();
    cpSync(state, good, { recursive: true });
    const file = join(state, 'journal.jsonl');
    const text = readFileSync(file, 'utf8').split('\n');
    writeFileSync(file, [text[0]?.replace(/"n":\d+/, '"n":99'), ...text.slice(1)].join('\n'));
    await plugin.enable();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const outcome = await member.docker('run', '--rm', '--network', 'web', 'drayage/box:1', 'true');
      t.not(outcome.code, 0);
      t.match(outcome.stderr, /STATE_CORRUPT: .*journal\.jsonl/, 'the file is named');
      t.match(outcome.stderr, /Running containers keep their network\. Put a good copy back, or move the folder away/);
      t.notMatch(outcome.stderr, /\n\s+at /, 'no stack');
      const before = starts(member);
      await plugin.kill9();
      await until('the restart', () => starts(member) > before);
    }
    t.ok(
      readdirSync(state).some((name) => name.startsWith('journal.jsonl.corrupt-')),
      'the damaged file is kept',
    );
    t.ok(await talk(), 'containers that run still talk');
  });

  await t.test('with a good copy put back it works again', async (t) => {
    await plugin.disable();
    rmSync(state, { recursive: true });
    cpSync(good, state, { recursive: true });
    await plugin.enable();
    await untilBack(member);
    t.same(await holdings(member), before);
    await member.box('third', '--network', 'web');
    t.ok(await member.pings('third', address));
    await member.remove('third');
    t.ok(await talk());
  });

  await t.test(
    'without any state what runs goes on, is told of, and nothing new begins before it has gone',
    async (t) => {
      await plugin.disable();
      rmSync(state, { recursive: true });
      await plugin.enable();
      await untilBack(member);
      const told = (await member.reconcile())
        .map(({ What }) => What)
        .filter((what) => what.includes('no record knows'));
      t.equal(told.length, 3, told.join('; '));
      t.match(
        told.join('; '),
        new RegExp(`a container runs on dry[0-9a-f]{11} \\(${address.replaceAll('.', '\\.')}\\)`),
      );
      t.ok(await talk(), 'containers talk, and the published port is served');
      t.ok(await member.pings(undefined, await member.address('other')), 'also with a subnet of Docker’s own');
      for (const args of [
        ['--ipam-driver', 'vpc'],
        ['--subnet', '10.70.9.0/24'],
      ]) {
        const outcome = await member.docker('network', 'create', '-d', 'vpc', ...args, 'more');
        refused(t, outcome, 'STATE_LOST', '3 containers', 'docker network rm');
      }
      for (const network of ['web', 'fixed']) {
        const outcome = await member.docker('run', '--rm', '--network', network, 'drayage/box:1', 'true');
        t.match(outcome, {
          code: 125,
          stderr: /NETWORK_UNKNOWN: .*Remove the network with docker network rm and create/,
        });
      }
      await member.remove('other');
      t.ok(await talk(), 'the others do not notice that one goes');
      await member.remove('left', 'right');
      await member.must('network', 'rm', 'web', 'fixed');
      t.same(await holdings(member), [], 'with the last of them all is gone');
      await member.createNetwork('web', '--ipam-driver', 'vpc');
      await member.createNetwork('fixed', '--subnet', '10.70.3.0/24');
      await member.serve('left', '--network', 'web', '-p', '8080:80');
      await member.box('right', '--network', 'web');
      t.equal(await member.address('left'), address, 'the host has its prefix again');
      t.ok(await talk());
      await member.remove('left', 'right');
      await member.must('network', 'rm', 'web', 'fixed');
      t.same(await holdings(member), []);
    },
  );
});

t.test('state that is lost on a host of a cluster', async (t) => {
  const cluster = await Cluster.for(t, { hosts: 2, env: { ETCD_LEASE: '3s' } });
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await one.serve('left', '--network', 'web');
  await two.serve('right', '--network', 'web');
  const [left, right] = [await one.address('left'), await two.address('right')];
  const claims = async (): Promise<string[]> =>
    ((await cluster.etcd?.list('/drayage/default/routes/')) ?? []).map(({ value }) => {
      const { prefix, host, id } = JSON.parse(value) as { prefix: string; host: string; id: string };
      return `${prefix} ${host} ${id}`;
    });
  const held = (await claims()).find((claim) => claim.includes('host1')) ?? '';
  const [prefix = '', host = ''] = held.split(' ');

  await t.test('its prefix is held on under its new identity, and containers talk across hosts', async (t) => {
    await one.plugin.disable();
    rmSync(join(one.host.stateFolder, 'network/state'), { recursive: true });
    await one.plugin.enable();
    await untilBack(one);
    const again = async (): Promise<boolean> =>
      (await claims()).some((claim) => claim.startsWith(`${prefix} ${host} `) && claim !== held);
    await until('the claim of the new identity', again, { timeoutMs: 20_000 });
    await cluster.untilRouted();
    t.equal(await one.whoami('left', right), left, 'it reaches the other host');
    t.equal(await two.whoami('right', left), right, 'and is reached from there');
  });

  await t.test('with the container and the network the claim goes', async (t) => {
    await one.remove('left');
    await until('the end of the claim', async () => !(await claims()).some((claim) => claim.startsWith(prefix)));
    await two.remove('right');
    await cluster.removeNetwork('web');
    t.same(await cluster.leftoversInTheEnd(), []);
  });
});
