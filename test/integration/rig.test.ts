// @exclusive
// The rig itself: that hosts, router and engines are what the tests of the plugins take them for, and that nothing stays behind.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { must, until } from '../rig/command.ts';
import { ENGINES } from '../rig/packages.ts';
import { records, sweep } from '../rig/record.ts';
import { Rig, rigFor, withRig } from '../rig/rig.ts';

t.setTimeout(180_000);

/** What a rig could leave in the machine's own namespaces. */
async function traces(id: string): Promise<string[]> {
  const found: string[] = [];
  for (const file of [`/run/drayage-rig/${id}.json`, `/var/tmp/drayage-rig/${id}`])
    if (existsSync(file)) found.push(file);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  found.push(...mounts.filter((line) => line.includes(id)));
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const file = `/proc/${entry}/cmdline`;
    if (existsSync(file) && (await must(['cat', file]).catch(() => '')).includes(`/drayage-rig/${id}`))
      found.push(file);
  }
  for (const hierarchy of readdirSync('/sys/fs/cgroup')) {
    const groups = readdirSync(path.join('/sys/fs/cgroup', hierarchy)).filter((name) => name.includes(id));
    found.push(...groups.map((name) => path.join(hierarchy, name)));
  }
  return found;
}

for (const engine of ENGINES) {
  t.test(`engine ${engine} runs containers on a bridge, survives kill -9 and power cuts`, async (t) => {
    const iptables = engine === '26' ? 'legacy' : 'nft';
    const rig = await rigFor(t, { hosts: 1, engine, iptables, daemon: { liveRestore: true } });
    const host = rig.host(1);
    t.match(await host.dockerMust(['version', '-f', '{{.Server.Version}}']), new RegExp(`^${engine}\\.`));
    const server = ['httpd', '-f', '-h', '/www'];
    await host.dockerMust([
      'run',
      '-d',
      '--name',
      'web',
      '--restart',
      'always',
      '-p',
      '8080:80',
      'drayage/box:1',
      ...server,
    ]);
    const fetch = async (): Promise<string> =>
      (
        await rig.world.machine.exec([
          rig.tools.busybox,
          'wget',
          '-T',
          '3',
          '-qO-',
          `http://${host.v4}:8080/cgi-bin/whoami`,
        ])
      ).stdout;
    t.equal(await fetch(), '203.0.113.10\n', 'the port is published');

    await host.dockerMust(['network', 'create', '--ipv6', '--subnet', 'fd00:9::/64', 'six']);
    await host.dockerMust(['run', '-d', '--network', 'six', '--ip6', 'fd00:9::7', 'drayage/box:1']);
    // The bridge's own address may still be under duplicate address detection.
    const ping = ['ping', '-c', '1', '-W', '1', 'fd00:9::7'];
    await until('an answer over IPv6', async () => (await host.exec(ping)).code === 0);

    const started = await host.dockerMust(['inspect', '-f', '{{.State.StartedAt}}', 'web']);
    await host.engine.kill9();
    t.equal(await fetch(), '203.0.113.10\n', 'the container goes on without dockerd');
    await host.engine.start();
    t.equal(await host.dockerMust(['inspect', '-f', '{{.State.StartedAt}}', 'web']), started, 'live-restore kept it');

    await host.powerOff();
    t.equal(await fetch(), '', 'a host without power serves nothing');
    await host.powerOn();
    t.equal(
      await until('the container after the power cut', async () => (await fetch()) || undefined),
      '203.0.113.10\n',
    );
  });
}

t.test('a VPC drops what no route names, and forwards what one names', async (t) => {
  const rig = await rigFor(t, { hosts: 2 });
  const [one, two] = [rig.host(1), rig.host(2)];
  await two.must(['ip', 'address', 'add', '10.64.2.1/32', 'dev', 'lo']);
  await two.must(['ip', 'address', 'add', 'fd64::2:1/128', 'dev', 'lo']);
  const reaches = async (address: string): Promise<boolean> =>
    (await one.exec(['ping', '-c', '1', '-W', '1', address])).code === 0;

  t.ok(await reaches(two.v4), 'hosts reach each other');
  t.ok(await reaches(two.v6), 'hosts reach each other over IPv6');
  const before = await rig.router.droppedPackets();
  t.notOk(await reaches('10.64.2.1'));
  t.equal(await rig.router.droppedPackets(), before + 1, 'the drop is counted');

  await rig.router.addRoute('10.64.2.0/24', 2);
  await rig.router.addRoute('fd64:0:0:0:0:0:2:0/112', 2);
  t.same(await rig.router.routes(), [
    { prefix: '10.64.2.0/24', host: 2 },
    { prefix: 'fd64::2:0/112', host: 2 },
  ]);
  t.ok(await reaches('10.64.2.1'), 'with a route it is reached');
  t.ok(await reaches('fd64::2:1'), 'over IPv6 too');
  const direct = await one
    .must(['ip', 'route', 'replace', '10.64.2.0/24', 'via', two.v4])
    .then(() => reaches('10.64.2.1'));
  t.ok(direct, 'sending to the other host directly works while the router has the route');
  await rig.router.removeRoute('10.64.2.0/24');
  t.notOk(await reaches('10.64.2.1'), 'and not without: a VPC is no Ethernet');

  await rig.router.cutHost(2);
  t.notOk(await reaches(two.v4), 'a cut host is unreachable');
  await rig.router.healHost(2);
  t.ok(await reaches(two.v4), 'and comes back');

  await rig.router.addRoute('10.64.2.0/24', 2);
  await two.powerOff();
  await two.powerOn();
  t.same(
    (await rig.router.routes()).filter((route) => !route.prefix.includes(':')),
    [{ prefix: '10.64.2.0/24', host: 2 }],
  );
});

t.test('in a rack hosts reach each other without the router', async (t) => {
  const rig = await rigFor(t, { hosts: 2, fabric: 'switch' });
  const [one, two] = [rig.host(1), rig.host(2)];
  await two.must(['ip', 'address', 'add', '10.64.2.1/32', 'dev', 'lo']);
  await one.must(['ip', 'route', 'add', '10.64.2.0/24', 'via', two.v4]);
  const ping = async (): Promise<boolean> => (await one.exec(['ping', '-c', '1', '-W', '1', '10.64.2.1'])).code === 0;
  t.ok(await ping());
  await rig.router.cutHost(2);
  t.notOk(await ping());
  await rig.router.healHost(2);
  t.ok(await ping());
});

t.test('the world logs who asked, and answers names', async (t) => {
  const rig = await rigFor(t, { hosts: 1 });
  const host = rig.host(1);
  const wget = async (url: string): Promise<string> =>
    (await host.docker(['run', '--rm', 'drayage/box:1', 'wget', '-T', '3', '-qO-', url])).stdout;
  t.equal(await wget('http://world.test/name'), `${host.v4}\n`, 'the bridge masquerades');
  t.match(rig.world.requests(), [
    { protocol: 'dns', client: host.v4, detail: 'world.test' },
    { protocol: 'dns', client: host.v4, detail: 'world.test' },
    { protocol: 'http', client: host.v4, detail: '/name' },
  ]);
  // An address that nobody translated: the Internet has no way back to it, the office has if there is a route.
  await host.must(['ip', 'address', 'add', '10.64.1.1/32', 'dev', 'lo']);
  await rig.router.addRoute('10.64.1.0/24', 1);
  const from = async (to: string): Promise<number | null> =>
    (await host.exec(['ping', '-c', '1', '-W', '1', '-I', '10.64.1.1', to])).code;
  t.not(await from(rig.world.v4), 0);
  t.equal(await from(rig.world.office), 0);
});

t.test('etcd with TLS and users keeps its data over kill -9, and the router mirrors claims', async (t) => {
  const rig = await rigFor(t, { hosts: 2 });
  const etcd = await rig.etcd({ tls: true, rootPassword: 'secret' });
  await rig.mirrorEtcd(etcd);
  const claim = async (prefix: string, n: number): Promise<void> => {
    const value = JSON.stringify({ prefix, host: `host${n}`, nextHop: rig.host(n).v4, nextHop6: rig.host(n).v6 });
    t.equal((await etcd.ctl(['put', `/drayage/default/routes/${prefix.replaceAll('/', '%2F')}`, value])).code, 0);
  };
  await claim('10.64.1.0/24', 1);
  await rig.router.untilRoute('10.64.1.0/24', 1);
  await claim('10.64.1.0/24', 2);
  await claim('fd64:1::/64', 2);
  await rig.router.untilRoute('10.64.1.0/24', 2);
  await rig.router.untilRoute('fd64:1::/64', 2);

  await etcd.kill9();
  t.equal((await rig.router.routes()).length, 2, 'without etcd the table stays');
  await etcd.start();
  t.equal((await etcd.list('/drayage/')).length, 2);
  await etcd.ctl(['del', '--prefix', '/drayage/']);
  await rig.router.untilRoute('10.64.1.0/24', undefined);

  const open = async (n: number): Promise<boolean> =>
    (
      await rig
        .host(n)
        .exec(['bash', '-c', 'exec 3<>/dev/tcp/10.250.0.2/2379'], { timeoutMs: 3_000 })
        .catch(() => undefined)
    )?.code === 0;
  t.ok(await open(1));
  await rig.router.cutEtcd(1);
  t.notOk(await open(1), 'one host is cut off from etcd');
  t.ok(await open(2), 'the other is not');
  await rig.router.healEtcd(1);
  t.ok(await open(1));
});

t.test('compose brings a project up and down', async (t) => {
  const rig = await rigFor(t, { hosts: 1 });
  const yaml = 'services: {a: {image: "drayage/box:1", command: sleep 1000, init: true}}';
  t.equal((await rig.host(1).compose('shop', yaml, ['up', '-d'])).code, 0);
  t.match(await rig.host(1).dockerMust(['ps', '--format', '{{.Names}}']), /shop-a-1/);
  t.equal((await rig.host(1).compose('shop', yaml, ['down', '-t', '0'])).code, 0);
});

t.test('two rigs at once do not meet, and leave nothing', async (t) => {
  const links = await must(['ip', '-o', 'link']);
  const rules = await must(['nft', 'list', 'ruleset']);
  const ids = await Promise.all(
    [1, 2].map(
      async () =>
        await withRig({ hosts: 1 }, async (rig) => {
          await rig
            .host(1)
            .dockerMust(['run', '-d', '--network', 'host', '-m', '64m', 'drayage/box:1', 'httpd', '-f', '-h', '/www']);
          t.match(await rig.host(1).must(['hostname']), 'host1');
          return rig.id;
        }),
    ),
  );
  t.not(ids[0], ids[1]);
  for (const id of ids) t.same(await traces(id), []);
  t.equal(await must(['ip', '-o', 'link']), links, 'no link in the machine’s own namespace');
  t.equal(await must(['nft', 'list', 'ruleset']), rules, 'no rule in the machine’s own namespace');
});

t.test('a rig whose process is killed with SIGKILL is gone at once, and the next one sweeps its files', async (t) => {
  const script = `
    import { Rig } from ${JSON.stringify(new URL('../rig/rig.ts', import.meta.url).href)};
    const rig = await Rig.up({ hosts: 1 });
    await rig.host(1).dockerMust(['run', '-d', 'drayage/box:1']);
    console.log(rig.id, rig.host(1).machine.pid);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 2],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [id = '', init = ''] = (
    await until('the rig of the other process', () => output.includes('\n') && output, { timeoutMs: 60_000 })
  )
    .trim()
    .split(' ');
  child.kill('SIGKILL');
  await until('the end of its host', () => !existsSync(`/proc/${init}`), { timeoutMs: 5_000 });
  t.not((await traces(id)).length, 0, 'its files are still there');
  await sweep();
  t.same(await traces(id), []);
});

t.test('a signal takes a rig down in order', async (t) => {
  const script = `
    import { Rig } from ${JSON.stringify(new URL('../rig/rig.ts', import.meta.url).href)};
    console.log((await Rig.up({ hosts: 1 })).id);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 2],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let id = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    id += text;
  });
  await until('the rig of the other process', () => id.includes('\n'), { timeoutMs: 60_000 });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  child.kill('SIGTERM');
  t.equal(await ended, 143);
  t.same(await traces(id.trim()), []);
});

t.test('a start that fails leaves nothing', async (t) => {
  const before = new Set(records().map((record) => record.id));
  await t.rejects(Rig.up({ hosts: 2, daemon: { daemon: { 'no-such-setting': true } } }), /no-such-setting/);
  t.same(
    records().filter((record) => !before.has(record.id) && record.pid === process.pid),
    [],
  );
});
