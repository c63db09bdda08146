// @timeout 5m
// A cloud fails under a host (simulated Aliyun, engine 28): each trouble is said in words, and gone when it is over.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { policyDocument } from '../../shared/cloud/aliyun/policy.ts';
import { HOSTS4 } from '../rig/addresses.ts';
import type { RigCloud } from '../rig/cloud.ts';
import { until } from '../rig/command.ts';
import { Cluster } from './support/cluster.ts';
import type { Member } from './support/member.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(300_000);

/** The engine gives up on a plugin's call after 30 s. */
const PATIENCE_MS = 29_000;
/** Longer than a call of the engine. */
const LONG_MS = 28_000;
const RIGHTS = policyDocument().Statement.flatMap(({ Action }) => Action);

const role = async (cloud: RigCloud, actions: readonly string[]): Promise<void> => {
  await cloud.control.do('role', { name: 'drayage', actions });
};

t.test('a cloud fails under a host', async (t) => {
  const cluster = await Cluster.for(t, { provider: 'aliyun', hosts: 1, cloud: { actions: RIGHTS } });
  const { cloud } = cluster;
  if (cloud === undefined) throw new Error('this cluster has no cloud');
  const host = cluster.member(1);
  const create = (name: string, ...args: string[]) =>
    host.docker('network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', ...args, name);
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await host.serve('alpha', '--network', 'web');
  const works = async (t: Test, when: string): Promise<void> => {
    t.equal(await host.whoamiFromHost(await host.address('alpha')), host.host.v4, `containers are reached ${when}`);
  };

  await t.test('a role without one permission: the error names it and the remedy', async (t) => {
    await role(
      cloud,
      RIGHTS.filter((action) => !action.startsWith('vpc:CreateRouteEntr')),
    );
    refused(t, await create('denied'), 'PROVIDER_PERMISSION', 'vpc:CreateRouteEntry', 'drayage policy aliyun');
    await works(t, 'all the same');
    await role(cloud, RIGHTS);
    const outcome = await create('granted');
    t.equal(outcome.code, 0, outcome.stderr);
    await host.must('network', 'rm', 'granted');
  });

  await t.test('a reply that is lost after the effect: the network is made, with one route', async (t) => {
    const before = (await cloud.routes()).length;
    await cloud.control.fault({ action: 'CreateRouteEntry', fault: { kind: 'lose-reply' } });
    const outcome = await create('lost');
    t.equal(outcome.code, 0, outcome.stderr);
    t.equal((await cloud.routes()).length, before + 1);
    await host.must('network', 'rm', 'lost');
    t.equal((await cloud.routes()).length, before);
  });

  await t.test('a storm of 503: the network is made when it is over, within Docker’s patience', async (t) => {
    await cloud.control.fault({ forMs: 5_000, fault: { kind: 'unavailable' } });
    const outcome = await create('stormy');
    t.equal(outcome.code, 0, outcome.stderr);
    t.ok(outcome.ms < PATIENCE_MS, `${Math.round(outcome.ms)} ms`);
    await host.must('network', 'rm', 'stormy');
  });

  await t.test('a route that takes longer than Docker waits: it goes on, and the same command joins it', async (t) => {
    const before = (await cloud.routes()).length;
    await cloud.control.do('timing', { settleMs: LONG_MS });
    const [prefix, after] = ['10.64.77.0/24', (await cloud.calls()).at(-1)?.number ?? 0];
    const ask = () => host.docker('network', 'create', '-d', 'vpc', '--subnet', prefix, 'slow');
    refused(t, await ask(), 'STILL_WORKING', prefix, 'Repeat the command');
    const outcome = await ask();
    t.equal(outcome.code, 0, outcome.stderr);
    const written = (await cloud.calls({ action: 'CreateRouteEntr*', after })).filter(({ code }) => code === 'OK');
    t.equal(written.length, 1, 'it was not begun anew');
    t.equal((await cloud.routes()).length, before + 1);
    await cloud.control.do('timing', { settleMs: 1_000 });
    await host.must('network', 'rm', 'slow');
    t.equal((await cloud.routes()).length, before);
  });

  await t.test('credentials that expire in the middle are fetched anew', async (t) => {
    await cloud.control.fault({ action: 'DescribeRouteEntryList', fault: { kind: 'expire-credentials' } });
    t.same(await host.reconcile(), []);
    const expired = await cloud.calls({ code: 'InvalidSecurityToken.Expired' });
    t.equal(expired.length, 1, 'one refusal, then new ones');
  });

  await t.test('metadata unreachable at start: the plugin answers within a second, and containers start', async (t) => {
    const fault = await cloud.control.fault({ service: 'metadata', times: 1_000, fault: { kind: 'hang' } });
    await host.plugin.kill9();
    await host.plugin.untilRunning();
    // Other work on the machine can only make an answer later; a plugin that waits makes all of them late.
    const times: number[] = [];
    for (let n = 0; n < 5; n += 1) times.push((await host.plugin.call('NetworkDriver.GetCapabilities')).ms);
    t.ok(Math.min(...times) < 1_000, `${times.map(Math.round).join(', ')} ms`);
    await works(t, 'meanwhile');
    await host.box('beta', '--network', 'web');
    t.ok(await host.pings('beta', await host.address('alpha')));
    refused(t, await create('early'), 'PROVIDER_UNREACHABLE', 'metadata service');
    await cloud.control.removeFault(fault);
    await until(
      'the cloud reached',
      async () => /"reachable": true/.test((await host.drayage('status', '--json')).out),
      {
        timeoutMs: 40_000,
        everyMs: 200,
      },
    );
    await host.remove('beta');
  });

  await t.test('a subnet that the VPC has is refused', async (t) => {
    const outcome = await host.docker('network', 'create', '-d', 'vpc', '--subnet', HOSTS4, 'inside');
    refused(t, outcome, 'PREFIX_IS_LOCAL', HOSTS4);
  });

  await t.test('no secret shows anywhere', async (t) => await secrets(t, cloud, host));

  await t.test('in the end nothing is left over', async (t) => {
    await cluster.clear();
    t.same(await cluster.leftoversInTheEnd(), []);
    t.notMatch(host.plugin.log().join('\n'), /INTERNAL|"?at file:/);
  });
});

/** Every file below a folder, as one text. */
const textsIn = (folder: string): string =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n');

async function secrets(t: Test, cloud: RigCloud, host: Member): Promise<void> {
  const { secret, token = 'none' } = await cloud.control.do<{ secret: string; token?: string }>('roleCredentials', {
    id: cloud.instance(1).id,
  });
  const places = {
    'the log': host.plugin.log().join('\n'),
    "the engine's log": host.host.engine.log(),
    'the state': textsIn(join(host.host.stateFolder, 'network/state')),
    'docker plugin inspect': await host.must('plugin', 'inspect', host.plugin.name),
    'docker inspect': await host.must('inspect', 'alpha'),
    'docker network inspect': await host.must('network', 'inspect', 'web'),
    'drayage status': (await host.drayage('status', '--json')).out,
    'drayage doctor': (await host.drayage('doctor', '--json')).out,
  };
  for (const [place, text] of Object.entries(places)) {
    t.ok(text.length > 0, `${place} has something`);
    t.notOk(text.includes(secret), `no secret in ${place}`);
    t.notOk(text.includes(token), `no token in ${place}`);
  }
}
