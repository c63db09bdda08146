// @timeout 5m
// Wrong settings of the plugin and hosts that cannot take it: each is said at the next `docker network create`, with what
// is allowed, and nothing is changed. (POOL=banana and a missing folder on all engines: plugin-image.test.ts.) Engine 28.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PLUGIN_NAME, type SETTINGS } from '../../network-plugin/options.ts';
import { run } from '../rig/command.ts';
import { InstalledPlugin } from '../rig/plugin.ts';
import { Cluster } from './support/cluster.ts';
import type { Member } from './support/member.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(300_000);

/** A bad value of each setting; none where every text is good. */
const BAD: Record<keyof typeof SETTINGS, string | undefined> = {
  provider: 'consul',
  pool: '10.64.0.5/12',
  prefix: '31',
  pool6: '10.0.0.0/8',
  prefix6: 'many',
  logLevel: 'loud',
  reconcileInterval: '30',
  metrics: 'banana',
  dryRun: 'maybe',
  nodeName: 'host 1',
  nodeIp: '10.250.0.300',
  uplink: 'eth0/1',
  cluster: 'a/b',
  etcdEndpoints: '10.0.0.2:2379',
  etcdPrefix: 'drayage',
  etcdUsername: undefined,
  etcdPassword: undefined,
  etcdCa: 'ca.pem',
  etcdCert: 'client.pem',
  etcdKey: 'key.pem',
  etcdLease: '1s',
  routeTables: 'rtb 1',
  peers: '10.96.0.0/12 through vgw-1',
  metadataAccess: 'sometimes',
  region: 'Frankfurt',
  cloudEndpoint: 'ec2.example',
  metadataEndpoint: '169.254.169.254',
  accessKeyId: 'a b',
  accessKeySecret: undefined,
  securityToken: undefined,
  credentialsFile: 'credentials',
  credentialsProfile: 'a b',
};

const environmentName = (setting: string): string =>
  setting.replace(/[A-Z0-9]/g, (letter, at) => (at > 0 && !/\d/.test(letter) ? `_${letter}` : letter)).toUpperCase();

const create = (on: Member, ...ipam: string[]) => on.docker('network', 'create', '-d', 'vpc', ...ipam, 'refused');

t.test('settings on engine 28', async (t) => {
  const cluster = await Cluster.for(t, { hosts: 1, provider: 'host' });
  const on = cluster.member(1);
  await on.createNetwork('web', '--ipam-driver', 'vpc');
  await on.serve('runs', '--network', 'web');
  const address = await on.address('runs');
  const before = await on.leftovers();

  await t.test('a bad value of any setting is named with what is allowed, and what runs goes on', async (t) => {
    let putRight: Record<string, string> = {};
    for (const [setting, value] of Object.entries(BAD)) {
      if (value === undefined) continue;
      const name = environmentName(setting);
      const original = await settingOf(on, name);
      await reset(on, { ...putRight, [name]: value });
      putRight = { [name]: original };
      refused(t, await create(on, '--ipam-driver', 'vpc'), 'SETTING_INVALID', `${name}=${value}`, 'Allowed: ');
    }
    await reset(on, putRight);
    t.ok(await on.pings(undefined, address), 'the container goes on');
  });

  await t.test('PROVIDER=etcd without endpoints, and an uplink that is not there, are named', async (t) => {
    await reset(on, { PROVIDER: 'etcd' });
    refused(t, await create(on), 'SETTING_INVALID', 'ETCD_ENDPOINTS', 'PROVIDER=etcd needs at least one');
    await reset(on, { PROVIDER: 'host', UPLINK: 'eth7' });
    refused(t, await create(on), 'UPLINK_MISSING', 'no interface is named eth7 (UPLINK)');
    await reset(on, { UPLINK: '' });
  });

  await t.test('a state folder that cannot be written to is named', async (t) => {
    await on.host.must(['mkdir', '-p', '/srv/fixed']);
    await on.host.must(['mount', '-t', 'tmpfs', '-o', 'ro', 'fixed', '/srv/fixed']);
    await reset(on, { 'state.source': '/srv/fixed' });
    refused(t, await create(on), 'STATE_WRITE', '/var/lib/drayage', 'EROFS');
    await reset(on, { 'state.source': '/var/lib/drayage' });
  });

  await t.test('with all settings right again everything is as it was', async (t) => {
    t.match(await on.drayage('reconcile'), { code: 0 });
    t.same(await on.leftovers(), before);
    t.equal(await on.whoamiFromHost(address), '10.250.0.11');
  });

  await withoutRight(t, on);

  await t.test('in the end nothing is left over', async (t) => {
    await on.remove('runs');
    await on.must('network', 'rm', 'web');
    t.same(await on.leftovers(), []);
    t.notMatch(on.plugin.log().join('\n'), /INTERNAL/);
  });
});

/** Disables the plugin, sets something and enables it again. */
async function reset(member: Member, env: Readonly<Record<string, string>>): Promise<void> {
  await member.plugin.disable();
  await member.plugin.set(env);
  await member.plugin.enable();
}

async function settingOf(on: Member, name: string): Promise<string> {
  const env = JSON.parse(await on.must('plugin', 'inspect', '-f', '{{json .Settings.Env}}', PLUGIN_NAME)) as string[];
  const found = env.find((entry) => entry.startsWith(`${name}=`));
  if (found === undefined) throw new Error(`the plugin has no setting ${name}`);
  return found.slice(name.length + 1);
}

async function withoutRight(t: Test, on: Member): Promise<void> {
  await t.test('a plugin without CAP_NET_ADMIN says so', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'drayage-weak-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    await run(['cp', '-a', '--reflink=auto', join(await pluginFolder(), 'rootfs'), join(folder, 'rootfs')]);
    // An engine refuses a second plugin with the very same files.
    writeFileSync(join(folder, 'rootfs/weak'), '');
    const config = JSON.parse(readFileSync(join(await pluginFolder(), 'config.json'), 'utf8')) as {
      linux: { capabilities: string[] };
    };
    config.linux.capabilities = [];
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    await on.host.must(['mkdir', '-p', '/srv/weak']);
    await on.plugin.disable();
    const weak = await InstalledPlugin.install(on.host, folder, {
      name: 'drayage/weak',
      env: { 'state.source': '/srv/weak' },
    });
    for (const ipam of [[], ['--ipam-driver', 'vpc']]) {
      refused(t, await create(on, ...ipam), 'KERNEL', 'CAP_NET_ADMIN');
    }
    await weak.disable();
    await weak.remove();
    await on.plugin.enable();
  });
}
