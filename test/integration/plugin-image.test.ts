// @exclusive
// @timeout 10m
// The plugin's image on real engines: its size, how soon it answers, what it holds in memory, and that a wrong setting
// is said where the user looks.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { PLUGIN_NAME } from '../../network-plugin/options.ts';
import { buildPlugin, sizeOf } from '../../plugin-configs/build.ts';
import { run, until } from '../rig/command.ts';
import type { Host } from '../rig/host.ts';
import { ENGINES } from '../rig/packages.ts';
import type { InstalledPlugin } from '../rig/plugin.ts';
import { rigFor } from '../rig/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { startsWithin } from './support/plugin-starts.ts';

t.setTimeout(600_000);

const MAX_BYTES = 120e6;
/** With a shell, file systems' programs, and the engines of volumes in buckets. */
const MAX_VOLUME_BYTES = 125e6;
const LIMITS = { reply: 300, stop: 1_000 };
const MAX_IDLE_KB = 70 * 1024;

const folder = mkdtempSync(join(tmpdir(), 'drayage-image-'));
const rootfs = join(folder, 'rootfs');
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
t.before(() => buildPlugin('network', folder));

t.test('the image is at most 120 MB unpacked, its folders included', async (t) => {
  const [bytes = ''] = execFileSync('du', ['-s', '--apparent-size', '-B1', rootfs], { encoding: 'utf8' }).split('\t');
  t.comment(`${(Number(bytes) / 1e6).toFixed(1)} MB`);
  t.ok(Number(bytes) <= MAX_BYTES, `${bytes} bytes`);
  t.ok((await sizeOf(rootfs)) <= Number(bytes), 'what the builder reports is no more than what du counts');
});

t.test('the image of the volume plugin is at most 125 MB, and starts with its own shell', async (t) => {
  const root = join(await pluginFolder('volume'), 'rootfs');
  const [bytes = ''] = execFileSync('du', ['-s', '--apparent-size', '-B1', root], { encoding: 'utf8' }).split('\t');
  t.comment(`${(Number(bytes) / 1e6).toFixed(1)} MB`);
  t.ok(Number(bytes) <= MAX_VOLUME_BYTES, `${bytes} bytes`);
  // As the engine runs it: with the host's devices and processes.
  const chroot = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"';
  const own = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', chroot, root];
  const inImage = async (...argv: string[]) => run([...own, ...argv], { env: { PATH: process.env.PATH } });
  const { entrypoint } = JSON.parse(readFileSync(join(root, '../config.json'), 'utf8')) as { entrypoint: string[] };
  t.same(entrypoint.slice(0, 3), ['/bin/sh', '/usr/lib/drayage/first.sh', '/usr/bin/node']);
  const started = await inImage('/bin/sh', '/usr/lib/drayage/first.sh', '/usr/bin/node', '-p', '6*7');
  t.match(started, { code: 0, stdout: '42\n' }, `first.sh says: ${started.stderr.trim()}`);
  for (const program of ['date', 'sleep', 'rm']) {
    t.match(await inImage('/bin/sh', '-c', `${program} --version`), { code: 0 }, program);
  }
});

t.test('the programs and libraries of the image need nothing else', async (t) => {
  const inImage = async (...argv: string[]) => run(['chroot', rootfs, ...argv], { env: { PATH: process.env.PATH } });
  t.match(await inImage('/usr/bin/node', '-p', 'process.version'), { code: 0, stdout: /^v24\./ });
  t.match(await inImage('/usr/sbin/iptables-legacy', '-V'), { code: 0, stdout: /legacy/ });
  t.match(await inImage('/usr/sbin/ip6tables-legacy-restore', '-V'), { code: 0, stdout: /legacy/ });
  const load = "require('/usr/lib/drayage/node_modules/koffi').load('libnftables.so.1')";
  t.match(await inImage('/usr/bin/node', '-e', load), { code: 0, stderr: '' });
});

t.test("the authorities of the clouds' certificates are known, without a file or a setting for them", async (t) => {
  const script = `
    const { X509Certificate } = require('node:crypto');
    const subjects = require('node:tls').getCACertificates().map((text) => new X509Certificate(text).subject);
    console.log(['Amazon Root CA 1', 'DigiCert Global Root G2', 'GlobalSign'].map((name) =>
      subjects.some((subject) => subject.includes(name))).join());
  `;
  const { stdout } = await run(['chroot', rootfs, '/usr/bin/node', '-e', script], { env: { PATH: process.env.PATH } });
  t.equal(stdout, 'true,true,true\n');
});

t.test("Node takes the image's compile cache for its own", async (t) => {
  const { entrypoint, env } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as {
    entrypoint: string[];
    env: { name: string; value: string }[];
  };
  const settings = Object.fromEntries(env.map(({ name, value }) => [name, value]));
  // A wrong setting: it starts, says so and touches nothing. When it listens it has loaded its code.
  const socket = join(rootfs, 'tmp/plugin.sock');
  const watched = new AbortController();
  const running = run(['chroot', rootfs, ...entrypoint], {
    env: {
      ...settings,
      PATH: process.env.PATH,
      LOG_LEVEL: 'none',
      DRAYAGE_SOCKET: '/tmp/plugin.sock',
      NODE_DEBUG_NATIVE: 'COMPILE_CACHE',
    },
    killed: watched.signal,
  });
  await until('the plugin listening', () => existsSync(socket), { timeoutMs: 50_000 });
  watched.abort();
  const { stderr, stdout } = await running;
  rmSync(socket);
  t.match(stderr + stdout, /cache for CommonJS \/usr\/lib\/drayage\/main\.cjs was accepted/);
  t.notMatch(stderr + stdout, /was rejected/);
});

t.test('two builds into one folder at once leave one whole plugin', async (t) => {
  const out = join(folder, 'twice');
  await Promise.all([buildPlugin('network', out), buildPlugin('network', out), buildPlugin('network', out)]);
  t.ok(existsSync(join(out, 'config.json')) && existsSync(join(out, 'rootfs/usr/lib/drayage/main.cjs')));
  t.same(
    readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
    'nothing half-built is left beside it',
  );
  rmSync(out, { recursive: true });
});

for (const engine of ENGINES) {
  t.test(`engine ${engine}`, async (t) => {
    const rig = await rigFor(t, { hosts: 1, engine });
    const host = rig.host(1);
    const plugin = await host.installPlugin(folder, { enable: false });
    await starts(t, host, plugin);
    await memory(t, plugin);
    await rights(t, plugin);
    await shortName(t, host);
    await settings(t, host, plugin);
    await missingFolder(t, host, plugin);
    if (engine === '28') await volumes(t, host);
  });
}

/** The same of the volume plugin: its driver, and the shell that starts it. */
async function volumes(t: Test, host: Host): Promise<void> {
  await t.test(
    'the volume plugin answers within 300 ms and ends within a second, too, and holds at most 70 MB when idle',
    async (t) => {
      const plugin = await host.installPlugin(await pluginFolder('volume'), { name: 'cloudvol', enable: false });
      await startsWithin(t, host, { plugin, kind: 'volume', method: 'VolumeDriver.Capabilities', limits: LIMITS });
      await sleep(1_500);
      const pids = [plugin.pid() ?? 0, plugin.driverPid() ?? 0];
      const kilobytes = pids.map((pid) =>
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
      );
      t.comment(`${kilobytes.map((one) => (one / 1024).toFixed(1)).join(' + ')} MB`);
      t.not(pids[0], pids[1], 'its first process is another one');
      t.ok(kilobytes.reduce((sum, one) => sum + one, 0) <= MAX_IDLE_KB, `${kilobytes.join(' + ')} kB`);
    },
  );
}

async function starts(t: Test, host: Host, plugin: InstalledPlugin): Promise<void> {
  await t.test('answers within 300 ms of docker plugin enable, and ends within a second', async (t) => {
    await startsWithin(t, host, { plugin, kind: 'network', method: 'NetworkDriver.GetCapabilities', limits: LIMITS });
    t.match(
      await host.dockerMust(['plugin', 'ls', '--format', '{{.Name}} {{.Enabled}}']),
      `${PLUGIN_NAME}:latest true`,
    );
  });
}

async function memory(t: Test, plugin: InstalledPlugin): Promise<void> {
  await t.test('holds at most 70 MB when idle', async (t) => {
    for (let i = 0; i < 20; i += 1) await plugin.call('IpamDriver.GetDefaultAddressSpaces', '');
    await sleep(1_500);
    const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(statusOf(plugin))?.[1]);
    t.comment(`${(kilobytes / 1024).toFixed(1)} MB`);
    t.ok(kilobytes > 0 && kilobytes <= MAX_IDLE_KB, `${kilobytes} kB`);
  });
}

async function rights(t: Test, plugin: InstalledPlugin): Promise<void> {
  await t.test('has no right to administer the system, only its network', async (t) => {
    const effective = BigInt(`0x${/CapEff:\s+([0-9a-f]+)/.exec(statusOf(plugin))?.[1]}`);
    const has = (capability: number): boolean => (effective & (1n << BigInt(capability))) !== 0n;
    t.ok(has(12), 'CAP_NET_ADMIN');
    t.notOk(has(21), 'CAP_SYS_ADMIN');
    t.notOk(has(19), 'CAP_SYS_PTRACE');
    t.notOk(has(16), 'CAP_SYS_MODULE');
  });
}

async function shortName(t: Test, host: Host): Promise<void> {
  await t.test('is found as -d vpc, and as its full name says', async (t) => {
    await host.dockerMust(['network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', 'short']);
    await host.dockerMust(['network', 'create', '-d', `${PLUGIN_NAME}:latest`, '--subnet', '10.70.3.0/24', 'full']);
    t.match(await host.dockerMust(['info', '-f', '{{.Plugins.Network}}']), / vpc/);
    await host.dockerMust(['network', 'rm', 'short', 'full']);
  });
}

async function settings(t: Test, host: Host, plugin: InstalledPlugin): Promise<void> {
  await t.test('a setting that it does not have is refused by docker plugin set', async (t) => {
    await plugin.disable();
    const outcome = await host.docker(['plugin', 'set', PLUGIN_NAME, 'POOOL=10.64.0.0/12']);
    t.match(outcome, { code: 1, stderr: /"POOOL" not found in the plugin configuration/ });
  });

  await t.test('a wrong value is said by docker network create, and in the log', async (t) => {
    await plugin.set({ POOL: 'banana' });
    const { ms } = await plugin.enable();
    t.ok(ms < 8_000, `enable does not wait the 12 s for a plugin that ended: ${ms.toFixed(0)} ms`);
    for (const ipam of [[], ['--ipam-driver', 'vpc']]) {
      const outcome = await host.docker(['network', 'create', '-d', 'vpc', ...ipam, 'web']);
      t.equal(outcome.code, 1);
      t.match(outcome.stderr, /SETTING_INVALID: .*POOL.*banana/);
      t.notMatch(outcome.stderr, /\n\s+at /, 'no stack');
    }
    t.match(plugin.log().join('\n'), /SETTING_INVALID/);
    await plugin.disable();
  });

  await t.test('with the value put right it works', async (t) => {
    await plugin.set({ POOL: '10.96.0.0/12' });
    await plugin.enable();
    await host.dockerMust(['network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', 'web']);
    const subnet = await host.dockerMust(['network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'web']);
    t.equal(subnet, '10.96.0.0/12');
    await host.dockerMust(['network', 'rm', 'web']);
  });
}

async function missingFolder(t: Test, host: Host, plugin: InstalledPlugin): Promise<void> {
  await t.test('a state folder that is not there is named by docker plugin enable', async (t) => {
    await plugin.disable();
    await plugin.set({ 'state.source': '/var/lib/nowhere' });
    const outcome = await host.docker(['plugin', 'enable', PLUGIN_NAME]);
    t.match(outcome, { code: 1, stderr: /\/var\/lib\/nowhere: no such file or directory/ });
    await host.must(['mkdir', '/var/lib/nowhere']);
    await plugin.enable();
    t.ok((await host.must(['ls', '/var/lib/nowhere'])).includes('network'), 'and is used once it is there');
  });
}

function statusOf(plugin: InstalledPlugin): string {
  return readFileSync(`/proc/${plugin.pid()}/status`, 'utf8');
}
