// @timeout 6m
// etcd and the way to it break: what runs goes on, what cannot be done is said within the engine's patience, and what
// was held is held again afterwards, or its new owner is named. Host 1 has engine 26, host 2 engine 28.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { signal, until } from '../rig/command.ts';
import type { Etcd } from '../rig/etcd.ts';
import { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(360_000);

/** The engine gives up on a plugin's call after 30 s, and then says only that. */
const PATIENCE_MS = 29_000;

t.test('etcd fails under two hosts', async (t) => {
  const cluster = await Cluster.for(t, {
    engine: ['26', '28'],
    env: { ETCD_LEASE: '3s' },
  });
  const { etcd } = cluster;
  if (etcd === undefined) throw new Error('this cluster has no etcd');
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await cluster.member(1).serve('alpha', '--network', 'web');
  await cluster.member(2).serve('beta', '--network', 'web');

  await downInTheMiddle(t, cluster, etcd);
  await standsStill(t, cluster, etcd);
  await downAtStart(t, cluster, etcd);
  await cutFromOne(t, cluster, etcd);
  await lost(t, cluster, etcd);

  await t.test('in the end nothing is left over', async (t) => {
    for (const [index, name] of ['alpha', 'beta'].entries()) await cluster.member(index + 1).remove(name);
    await cluster.removeNetwork('web');
    t.same(await cluster.leftoversInTheEnd(), []);
    for (const { plugin } of cluster.members) t.notMatch(plugin.log().join('\n'), /INTERNAL|"?at file:/);
  });
});

/** Keys and values of all claims, in order. */
async function claims(etcd: Etcd): Promise<string[]> {
  const entries = await etcd.list('/drayage/default/routes/');
  return entries.map(({ value }) => {
    const { prefix, host } = JSON.parse(value) as { prefix: string; host: string };
    return `${prefix} ${host}`;
  });
}

/**
 * Waits until the claims are what they were. A lease of three seconds may have ended on a slow machine before the plugin was at
 * etcd again, which then claims what it has held anew.
 */
async function untilHeld(etcd: Etcd, held: readonly string[]): Promise<void> {
  const wanted = JSON.stringify(held);
  await until('the claims as they were', async () => JSON.stringify(await claims(etcd)) === wanted, {
    timeoutMs: 15_000,
  });
}

/** The prefix of `web` on a host. */
async function prefixOf(member: Member): Promise<string> {
  const { out } = await member.drayage('networks', '--json');
  return /"(10\.[0-9.]+\/24)"/.exec(out)?.[1] ?? '';
}

/** Does each container reach the other one, by its own address? */
async function talk(t: Test, cluster: Cluster, when: string): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const [a, b] = [await one.address('alpha'), await two.address('beta')];
  t.equal(await one.whoami('alpha', b), a, `a reaches b ${when}`);
  t.equal(await two.whoami('beta', a), b, `b reaches a ${when}`);
}

/** A new network is refused soon, in these terms, and nothing of it stays on the host. */
async function noNewNetworks(t: Test, on: Member): Promise<void> {
  const networks = async () => await on.must('network', 'ls', '--format', '{{.Name}}');
  const before = [await networks(), await on.host.must(['ip', 'route']), await on.drayage('networks')];
  for (const ipam of [
    ['--ipam-driver', 'vpc'],
    ['--subnet', '10.64.77.0/24'],
  ]) {
    const outcome = await on.docker('network', 'create', '-d', 'vpc', ...ipam, 'refused');
    refused(t, outcome, 'PROVIDER_UNREACHABLE', 'etcd', 'http://10.250.0.2:2379', 'running containers are not touched');
    t.ok(outcome.ms < PATIENCE_MS, `refused after ${(outcome.ms / 1000).toFixed(1)} s`);
  }
  t.same(
    [await networks(), await on.host.must(['ip', 'route']), await on.drayage('networks')],
    before,
    'nothing was changed',
  );
}

async function isReachable(member: Member): Promise<boolean> {
  const { out } = await member.drayage('status', '--json');
  return (JSON.parse(out) as { Provider: { reachable: boolean } }).Provider.reachable;
}

async function untilReachable(cluster: Cluster): Promise<void> {
  for (const member of cluster.members) {
    await until(`${member.name} at etcd again`, () => isReachable(member), { timeoutMs: 20_000, everyMs: 100 });
  }
}

async function downInTheMiddle(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'etcd killed: containers talk, start and stop, new networks are refused; back with the same prefixes',
    async (t) => {
      const held = await claims(etcd);
      await etcd.kill9();
      await talk(t, cluster, 'without etcd');
      await noNewNetworks(t, cluster.member(1));
      await cluster.member(1).box('late', '--network', 'web');
      t.ok(
        await cluster.member(1).pings('late', await cluster.member(2).address('beta')),
        'a new container of an old network talks',
      );
      await cluster.member(1).remove('late');
      t.match(await cluster.member(1).drayage('status'), { code: 0, out: /reachable: +no[\s\S]*10\.250\.0\.2:2379/ });
      await etcd.start();
      await untilReachable(cluster);
      await untilHeld(etcd, held);
      await sleep(4_000);
      await untilHeld(etcd, held);
      t.pass('a lease later the claims are the same');
      await cluster.untilRouted();
      await cluster.untilLed();
      await talk(t, cluster, 'with etcd again');
      await cluster.member(1).createNetwork('after', '--ipam-driver', 'vpc');
      await cluster.member(1).must('network', 'rm', 'after');
      await untilHeld(etcd, held);
    },
  );
}

async function standsStill(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'etcd stands still: new networks are refused in time, and who hung up meanwhile leaves nothing',
    async (t) => {
      const held = await claims(etcd);
      const one = cluster.member(1);
      const before = await cluster.leftovers();
      signal(etcd.pid, 'SIGSTOP');
      try {
        await hangUp(one, 'IpamDriver.RequestPool', {
          AddressSpace: 'vpc',
          Pool: '',
          SubPool: '',
          Options: {},
          V6: false,
        });
        await talk(t, cluster, 'while etcd stands still');
        await noNewNetworks(t, one);
      } finally {
        signal(etcd.pid, 'SIGCONT');
      }
      await untilReachable(cluster);
      await untilHeld(etcd, held);
      await cluster.untilRouted();
      await cluster.untilLed();
      t.same(await cluster.leftovers(), before, 'nothing is left of what was refused or hung up on');
      await talk(t, cluster, 'when etcd goes on');
    },
  );
}

async function downAtStart(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'etcd down when the plugin starts: networks that are there work, new ones are refused in time',
    async (t) => {
      const one = cluster.member(1);
      const held = await claims(etcd);
      await etcd.kill9();
      await one.plugin.disable();
      await one.plugin.enable();
      await talk(t, cluster, 'after a start without etcd');
      await one.box('late', '--network', 'web');
      t.ok(await one.pings('late', await cluster.member(2).address('beta')), 'a new container of an old network talks');
      await one.remove('late');
      await noNewNetworks(t, one);
      await etcd.start();
      await untilReachable(cluster);
      await untilHeld(etcd, held);
      await one.createNetwork('after', '--ipam-driver', 'vpc');
      await one.must('network', 'rm', 'after');
      await cluster.untilRouted();
      await cluster.untilLed();
    },
  );
}

async function cutFromOne(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'a host cut from etcd beyond its lease: its prefix is released, and given back when it returns',
    async (t) => {
      const [one, two] = [cluster.member(1), cluster.member(2)];
      const prefix = await prefixOf(two);
      const wayThere = async () => await one.host.must(['ip', 'route', 'show', prefix]);
      t.match(await wayThere(), /via 10\.250\.0\.12/, 'host 1 knows the way to host 2 first');
      await cluster.rig.router.cutEtcd(2);
      await until('the end of the lease', async () => !(await claims(etcd)).some((claim) => claim.startsWith(prefix)), {
        timeoutMs: 15_000,
      });
      await until('the other host dropping the way', async () => (await wayThere()) === '');
      t.notOk((await one.drayage('routes', '--json')).out.includes(prefix), 'nobody sends there any more');
      await until('the plugin noticing', async () => !(await isReachable(two)), { timeoutMs: 20_000 });
      t.equal(await two.address('beta'), await two.address('beta'));
      t.ok(await two.pings(undefined, await two.address('beta')), 'its own containers go on');
      await cluster.rig.router.healEtcd(2);
      await untilReachable(cluster);
      await until('the old prefix again', async () => (await claims(etcd)).includes(`${prefix} host2`), {
        timeoutMs: 15_000,
      });
      await cluster.untilRouted();
      await cluster.untilLed();
      await talk(t, cluster, 'with the old prefix again');
    },
  );
}

async function lost(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'a prefix that another host took meanwhile is lost: said, not stolen, and taken again when it is free',
    async (t) => {
      const [one, two] = [cluster.member(1), cluster.member(2)];
      const prefix = await prefixOf(two);
      await cluster.rig.router.cutEtcd(2);
      await until('the end of the lease', async () => !(await claims(etcd)).some((claim) => claim.startsWith(prefix)), {
        timeoutMs: 15_000,
      });
      await one.createNetwork('taken', '--ipam-driver', 'vpc', '--subnet', prefix);
      await cluster.rig.router.healEtcd(2);
      await untilReachable(cluster);
      await until(
        'the loss being noticed',
        async () =>
          /lost: +prefix 10\.64\.\d+\.0\/24 owner host1/.test((await two.drayage('status')).out.replaceAll('\n', ' ')),
        { timeoutMs: 15_000 },
      );
      t.ok((await claims(etcd)).includes(`${prefix} host1`), 'nothing was stolen');
      // The log comes by way of the engine.
      await until('word of the loss', () => /PREFIX LOST/.test(two.plugin.log().join('\n')));
      const attempt = await two.docker('run', '--rm', '--name', 'refused', '--network', 'web', IMAGE, 'true');
      refused(t, attempt, 'PREFIX_OWNED', prefix, 'host host1');
      t.ok(await two.pings(undefined, await two.address('beta')), 'what runs goes on');
      t.match(await two.drayage('reconcile'), {
        code: 1,
        out: new RegExp(`${prefix.replaceAll('.', '\\.')} is lost: .*host1`),
      });
      await one.must('network', 'rm', 'taken');
      await until('the old prefix again', async () => (await claims(etcd)).includes(`${prefix} host2`), {
        timeoutMs: 15_000,
      });
      await cluster.untilRouted();
      await cluster.untilLed();
      await talk(t, cluster, 'with the old prefix again');
      t.match(await two.docker('run', '--rm', '--network', 'web', IMAGE, 'true'), { code: 0 });
    },
  );
}

/** Sends a whole request to the plugin's socket and is gone a moment later. */
async function hangUp(on: Member, method: string, body: unknown): Promise<void> {
  const text = JSON.stringify(body);
  const socket = connect(on.plugin.socket());
  const head = `POST /${method} HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n`;
  await new Promise<void>((resolve, reject) => socket.once('error', reject).write(head + text, () => resolve()));
  await sleep(200);
  socket.destroy();
}
