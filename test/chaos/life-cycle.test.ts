// @timeout 10m
// Engines, plugins and hosts that stop, die, come back and are replaced while containers run.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Cluster } from '../integration/support/cluster.ts';
import { IMAGE, Member } from '../integration/support/member.ts';
import { until } from '../rig/command.ts';
import { InstalledPlugin } from '../rig/plugin.ts';
import { collect, holdings, starts, strays, untilBack, untilRestarted } from './support/holdings.ts';
import { mortalPlugin } from './support/image.ts';
import { type PingResult, Pings } from './support/pings.ts';

t.setTimeout(600_000);

const ENGINES = ['28', '28', '20', '26'] as const;
/** Containers that are started at once, in all. */
const MANY = 50;
/** The engine gives up on a plugin after 30 s: a restart that takes longer waited for one. */
const RESTART_MS = 25_000;

const folder = mortalPlugin();

t.test('engines, plugins and hosts that go and come back', async (t) => {
  const cluster = await Cluster.for(t, { hosts: ENGINES.length, engine: ENGINES, folder });
  await cluster.createNetwork('web', '--ipam-driver', 'vpc', '-o', 'ingress=any');
  await Promise.all(
    cluster.members.map(async (member) => {
      await member.serve('stays', '--network', 'web', '-p', '8080:80', '--restart', 'always');
      await member.box('other', '--network', 'web', '--restart', 'always');
    }),
  );
  await withoutEtcd(t, cluster);
  t.jobs = ENGINES.length;
  await Promise.all(
    ENGINES.map((engine, index) =>
      t.test(`engine ${engine} on host ${index + 1}`, { buffered: true }, async (t) => {
        const scene = new Scene(cluster, index + 1);
        const others = [crashOfThePlugin, replaced, liveRestore, engineRestarts, powerCut];
        await disabled(t, scene);
        // Host 2 has the same engine, and does the rest meanwhile.
        for (const other of scene.patient ? [] : others) await other(t, scene);
        await emptied(t, scene);
      }),
    ),
  );
});

/** One host of the cluster, and another one that watches it. */
class Scene {
  readonly cluster: Cluster;
  readonly number: number;
  /** Whether there is time for what an engine takes minutes for. */
  readonly patient: boolean;
  /** Another one when the plugin was installed anew. */
  member: Member;

  constructor(cluster: Cluster, number: number) {
    this.cluster = cluster;
    this.number = number;
    this.patient = number === 1;
    this.member = cluster.member(number);
  }

  /** Everything a user would look at: the container and its published port answer, and nothing is there that Docker does not know. */
  async isWell(t: Test, when: string): Promise<void> {
    const { member } = this;
    await until(`the port of ${member.name} ${when}`, () => this.served(), { timeoutMs: 15_000 });
    t.ok(await this.served(), `${when}: the published port answers`);
    const address = await member.address('stays');
    t.ok(await member.pings('other', address), `${when}: containers of the host talk`);
    t.ok(await member.pings(undefined, address), `${when}: the host reaches its container`);
    const from = await this.cluster.whoamiFromWorld(address, this.cluster.rig.world.office);
    t.equal(from, this.cluster.rig.world.office, `${when}: the container is reached through the VPC`);
    await collect(member);
    t.same(await strays(member), [], `${when}: nothing that Docker does not know`);
  }

  async served(): Promise<boolean> {
    return (await this.cluster.whoamiFromWorld(`${this.member.host.v4}:8080`)) !== '';
  }

  /** Traffic from the office to the container while `work` goes on. */
  async traffic(work: () => Promise<void>): Promise<PingResult> {
    const { rig } = this.cluster;
    const pings = await Pings.start(rig.router.machine, rig.tools.busybox, await this.member.address('stays'));
    await sleep(300);
    await work();
    await sleep(300);
    return await pings.stop();
  }
}

async function withoutEtcd(t: Test, cluster: Cluster): Promise<void> {
  await t.test('every engine restarts while etcd is down', async (t) => {
    const scenes = ENGINES.map((_, index) => new Scene(cluster, index + 1));
    await cluster.etcd?.stop();
    await Promise.all(scenes.map(({ member }) => timed(t, 'a restart', () => member.host.engine.restart())));
    for (const scene of scenes) {
      await until('the port', () => scene.served(), { timeoutMs: 15_000 });
      t.ok(await scene.served(), `${scene.member.name}: containers are back on their network`);
    }
    await cluster.etcd?.start();
    const atWork = async ({ member }: Scene): Promise<boolean> =>
      (await member.reconcile()).every(({ What }) => !What.includes('not at work'));
    for (const scene of scenes) {
      await until('the route provider', () => atWork(scene), { timeoutMs: 30_000, everyMs: 500 });
      await scene.isWell(t, `${scene.member.name} with etcd again`);
    }
  });
}

async function crashOfThePlugin(t: Test, scene: Scene): Promise<void> {
  await t.test('the plugin is killed while traffic flows', async (t) => {
    const { member } = scene;
    const before = await holdings(member);
    const { sent, lost, gapMs } = await scene.traffic(async () => {
      for (let i = 0; i < 3; i += 1) {
        const before = starts(member);
        await member.plugin.kill9();
        await untilRestarted(member, before);
      }
    });
    t.comment(`${lost} of ${sent} lost, longest gap ${gapMs} ms`);
    t.ok(sent > 50 && lost === 0, `${lost} of ${sent} packets were lost`);
    t.same(await holdings(member), before, 'it takes over what is there');
    await scene.isWell(t, 'after three kills');
  });
}

async function disabled(t: Test, scene: Scene): Promise<void> {
  await t.test('docker plugin disable -f with containers running', async (t) => {
    const { member } = scene;
    await member.box('leaves', '--network', 'web', '-p', '8090:80');
    const subnet = `10.70.${scene.number}.0/24`;
    await member.createNetwork('idle', '--subnet', subnet);
    const { sent, lost } = await scene.traffic(async () => {
      t.equal((await member.plugin.disable()).code, 0);
      t.ok(await scene.served(), 'the published port is served without the plugin');
    });
    t.ok(sent > 50 && lost === 0, `${lost} of ${sent} packets were lost`);
    // The engine asks for 15 s in vain, for each of its calls.
    if (scene.patient) await whileDisabled(t, member);
    await member.plugin.enable();
    await untilBack(member);
    // Nothing says that a network is gone for good, but that Docker gives its subnet out again.
    if (scene.patient) await member.createNetwork('idle', '--subnet', subnet);
    await member.must('network', 'rm', 'idle');
    await member.remove(scene.patient ? 'never' : 'leaves');
    await scene.isWell(t, 'enabled again');
    await member.box('arrives', '--network', 'web', '-p', '8090:80');
    t.ok(await member.pings('other', await member.address('arrives')), 'a new container gets the port and is reached');
    await member.remove('arrives');
  });
}

/** What Docker does when there is no plugin to ask: containers and networks go untold, new containers are refused. */
async function whileDisabled(t: Test, { host }: Member): Promise<void> {
  const slowly = { timeoutMs: 150_000 };
  const [rm, networkRm, run] = await Promise.all([
    host.docker(['rm', '-f', 'leaves'], slowly),
    host.docker(['network', 'rm', 'idle'], slowly),
    host.docker(['run', '-d', '--name', 'never', '--network', 'web', IMAGE, 'sleep', 'infinity'], slowly),
  ]);
  t.equal(rm.code, 0, 'a container is removed without the plugin');
  t.equal(networkRm.code, 0, 'and a network');
  // The client makes 127 of the engine's words about a socket that is not there.
  t.not(run.code, 0, 'a container is not started without the plugin');
  t.match(run.stderr, /plugin/);
}

async function replaced(t: Test, scene: Scene): Promise<void> {
  await t.test('the plugin is removed and created again under its name', async (t) => {
    const { member, cluster } = scene;
    const before = await holdings(member);
    const settings = await settingsOf(member);
    const { sent, lost } = await scene.traffic(async () => {
      await member.plugin.disable();
      t.equal((await member.plugin.remove()).code, 0);
      await member.host.installPlugin(await folder, { env: settings });
    });
    t.ok(sent > 50 && lost === 0, `${lost} of ${sent} packets were lost`);
    scene.member = new Member(member.host, await InstalledPlugin.find(member.host), {
      etcd: cluster.etcd,
      busybox: cluster.rig.tools.busybox,
    });
    await untilBack(scene.member);
    t.same(await holdings(scene.member), before, 'its state is where it was');
    await scene.isWell(t, 'created again');
  });
}

/** Values of the settings that can be set. */
async function settingsOf(member: Member): Promise<Record<string, string>> {
  const format = '{"names":{{json .Config.Env}},"values":{{json .Settings.Env}}}';
  const { names, values } = JSON.parse(await member.must('plugin', 'inspect', '-f', format, member.plugin.name)) as {
    names: { Name: string; Settable: string[] | null }[];
    values: string[];
  };
  const settable = new Set(names.filter(({ Settable }) => Settable?.includes('value')).map(({ Name }) => Name));
  const pairs = values.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)] as const);
  return Object.fromEntries(pairs.filter(([name]) => settable.has(name)));
}

async function liveRestore(t: Test, scene: Scene): Promise<void> {
  await t.test('dockerd restarts and dies with live-restore', async (t) => {
    const { member } = scene;
    const { engine } = member.host;
    await engine.restart({ liveRestore: true });
    await scene.isWell(t, 'restarted into live-restore');
    const before = await holdings(member);
    const { sent, lost } = await scene.traffic(async () => {
      await timed(t, 'a restart', () => engine.restart());
      await engine.kill9();
      t.ok(await scene.served(), 'the published port is served without dockerd');
      await timed(t, 'a start after kill -9', () => engine.start());
    });
    t.ok(sent > 50 && lost === 0, `${lost} of ${sent} packets were lost`);
    await untilBack(member);
    t.same(await holdings(member), before, 'the plugin holds what it held');
    await scene.isWell(t, 'after both');
    await engine.restart({ liveRestore: false });
  });
}

async function engineRestarts(t: Test, scene: Scene): Promise<void> {
  await t.test('dockerd restarts and dies without live-restore', async (t) => {
    const { member } = scene;
    const { engine } = member.host;
    await timed(t, 'a restart', () => engine.restart());
    await scene.isWell(t, 'restarted');
    await engine.kill9();
    await timed(t, 'a start after kill -9', () => engine.start());
    await scene.isWell(t, 'after kill -9');
  });
}

async function timed(t: Test, what: string, work: () => Promise<void>): Promise<void> {
  const started = performance.now();
  await work();
  const ms = Math.round(performance.now() - started);
  t.comment(`${what} took ${ms} ms`);
  t.ok(ms < RESTART_MS, `${what} waits for nothing: ${ms} ms`);
}

async function powerCut(t: Test, scene: Scene): Promise<void> {
  await t.test('the host loses power', async (t) => {
    const { member } = scene;
    const claims = (await holdings(member)).filter((line) => line.startsWith('state claims/'));
    await member.host.powerOff();
    await member.host.powerOn();
    await scene.isWell(t, 'after the power cut');
    const now = (await holdings(member)).filter((line) => line.startsWith('state claims/'));
    t.same(now, claims, 'the host has its prefix again');
  });
}

async function emptied(t: Test, scene: Scene): Promise<void> {
  await t.test('after all that nothing is left when the network is gone', async (t) => {
    const { member } = scene;
    if (scene.number % 2 === 0) await manyAtOnce(t, member, MANY / 2);
    await member.remove('stays', 'other');
    await member.must('network', 'rm', 'web');
    await collect(member);
    t.same(await holdings(member), []);
  });
}

/** `docker run` in parallel, and `docker rm -f` too. */
async function manyAtOnce(t: Test, member: Member, count: number): Promise<void> {
  const before = await holdings(member);
  const names = Array.from({ length: count }, (_, index) => `many${index}`);
  const started = performance.now();
  const runs = await Promise.all(
    names.map((name) =>
      member.docker('run', '-d', '--name', name, '--network', 'web', '-P', IMAGE, 'sleep', 'infinity'),
    ),
  );
  t.same(
    runs.filter(({ code }) => code !== 0).map(({ stderr }) => stderr),
    [],
    `${count} containers start at once`,
  );
  const addresses = await Promise.all(names.map((name) => member.address(name)));
  t.equal(new Set(addresses).size, count, 'each has an address of its own');
  const deaf = await Promise.all(
    addresses.map(async (address) => ((await member.pings(undefined, address)) ? '' : address)),
  );
  t.same(
    deaf.filter((address) => address !== ''),
    [],
    'each is reached',
  );
  const removals = await Promise.all(names.map((name) => member.docker('rm', '-f', name)));
  t.same(
    removals.filter(({ code }) => code !== 0).map(({ stderr }) => stderr),
    [],
    'and are removed at once',
  );
  t.comment(`${count} containers came and went in ${Math.round(performance.now() - started)} ms`);
  t.same(await holdings(member), before, 'nothing is left of them, at once');
}
