import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { ask } from '../../../bin/cli/client.ts';
import { main } from '../../../bin/cli/main.ts';

type Answer = { readonly status?: number; readonly body: unknown };

/** Under /tmp: a unix socket's path has at most 107 bytes, and tap's own folders are longer. */
function stateFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'network'));
  return folder;
}

/** A plugin's admin socket that gives fixed answers, in a state folder of its own; it notes what it was asked. */
async function fakePlugin(t: Test, answers: Readonly<Record<string, Answer>>, plugin = 'network') {
  const state = stateFolder(t);
  const asked: { readonly path: string; readonly body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      const path = request.url ?? '';
      asked.push({ path, body });
      const answer = answers[path] ?? { status: 404, body: { Err: '' } };
      if (answer.body === undefined) return; // never answers
      const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
      response.writeHead(answer.status ?? 200).end(text);
    });
  });
  mkdirSync(join(state, plugin), { recursive: true });
  const socket = join(state, plugin, 'admin.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { state, socket, asked };
}

/** Runs the command in this process. */
async function drayage(state: string, ...args: readonly string[]) {
  const lines: string[] = [];
  const errors: string[] = [];
  const code = await main(
    args,
    { DRAYAGE_STATE: state },
    { out: (text) => lines.push(text), error: (text) => errors.push(text) },
  );
  return { code, out: lines.join('\n'), error: errors.join('\n') };
}

t.test('volume ls and inspect ask the volume plugin', async (t) => {
  const row = {
    Name: 'data',
    Type: 'block',
    State: 'mounted',
    Holds: 2,
    Path: '/mnt/data',
    Options: { size: '1g' },
    LastError: '',
  };
  const answers = {
    '/Drayage.Volumes': { body: { Volumes: [row] } },
    '/Drayage.Volume': { body: { Volume: { Name: 'data', Status: { state: 'mounted' } } } },
  };
  const { state, asked } = await fakePlugin(t, answers, 'volume');
  t.match(await drayage(state, 'volume', 'ls'), {
    code: 0,
    out: /^NAME +TYPE +STATE +HOLDS.*\ndata +block +mounted +2/,
  });
  t.match(await drayage(state, 'volume', 'inspect', 'data'), { code: 0, out: /Status:\n +state: +mounted/ });
  t.match(JSON.parse((await drayage(state, 'volume', 'ls', '--json')).out), { Volumes: [row] });
  t.same(asked.map(({ path, body }) => `${path} ${body}`).slice(0, 2), [
    '/Drayage.Volumes {}',
    '/Drayage.Volume {"Volume":"data"}',
  ]);
  t.match(await drayage(state, 'volume'), { code: 2, error: /volume needs one of ls, inspect/ });
  t.match(await drayage(state, 'volume', 'inspect'), { code: 2, error: /needs the name of a volume/ });
  t.match(await drayage(state, 'volume', 'ls', 'x'), { code: 2, error: /"x" is not expected/ });
});

t.test('volume fence wants the name of the host typed out', async (t) => {
  const answers = { '/Drayage.VolumeFence': { body: { Volume: { Name: 'data' }, Host: 'host-2' } } };
  const { state, asked } = await fakePlugin(t, answers, 'volume');
  t.match(await drayage(state, 'volume', 'fence', 'data'), {
    code: 2,
    error: /needs the name of the host that has it/,
  });
  t.match(await drayage(state, 'volume', 'fence', 'data', 'host-2', 'x'), { code: 2, error: /"x" is not expected/ });
  t.same(asked, []);
  t.match(await drayage(state, 'volume', 'fence', 'data', 'host-2'), { code: 0, out: /data was taken from host-2/ });
  t.match(asked, [{ path: '/Drayage.VolumeFence', body: '{"Volume":"data","Host":"host-2"}' }]);
});

t.test(
  'volume retire shows what a volume left behind, and wants the last generation that goes typed out',
  async (t) => {
    const row = { Generation: 1, Disk: 'vol-1', Zone: 'a', Size: 2 ** 30, Retired: '2026-11-22T09:00:00.000Z' };
    const answers = { '/Drayage.VolumeRetire': { body: { Retired: [row], Removed: false } } };
    const { state, asked } = await fakePlugin(t, answers, 'volume');
    t.match(await drayage(state, 'volume', 'retire', 'data'), { code: 0, out: /1 +vol-1 +a +1g +2026-11-22/ });
    await drayage(state, 'volume', 'retire', 'data', '1');
    t.same(
      asked.map(({ body }) => body),
      ['{"Volume":"data"}', '{"Volume":"data","Generation":"1"}'],
    );
  },
);

t.test('day-2 commands ask the volume plugin, and print tables for people', async (t) => {
  const row = { Id: 'snap-1', Volume: 'data', Size: 2 ** 31, Created: '2026', Reason: 'user', State: 'pending (43 %)' };
  const named = { Volume: { Name: 'data', Options: { size: '40g' } } };
  const answers = {
    '/Drayage.VolumeResize': { body: named },
    '/Drayage.VolumeSnapshot': { body: { Snapshot: row } },
    '/Drayage.VolumeSnapshots': { body: { Snapshots: [row] } },
    '/Drayage.VolumeSnapshotRemove': { body: { Snapshot: row } },
    '/Drayage.VolumeClone': { body: { ...named, Source: 'pgdata' } },
    '/Drayage.VolumeImport': { body: { ...named, Disk: 'vol-1' } },
  };
  const { state, asked } = await fakePlugin(t, answers, 'volume');
  const ask = (...args: string[]) => drayage(state, 'volume', ...args);
  t.match(await ask('resize', 'data', '40GiB'), { code: 0, out: 'Volume data has 40g now.' });
  t.match(await ask('snapshot', 'data'), {
    code: 0,
    out: /^ID +VOLUME +SIZE +STATE.*\nsnap-1 +data +2g +pending \(43 %\)/,
  });
  t.match(await ask('snapshots'), { code: 0, out: /snap-1/ });
  t.match(await ask('snapshots', 'data'), { code: 0 });
  t.match(await ask('snapshot-rm', 'snap-1'), { code: 0, out: 'Snapshot snap-1 is removed.' });
  t.match(await ask('clone', 'pgdata', 'data'), { code: 0, out: 'Volume data is a copy of pgdata.' });
  t.match(await ask('import', 'vol-1', 'data', '--inside', '/srv/'), { code: 0, out: 'Disk vol-1 is volume data.' });
  t.match(await ask('import', 'vol-1', 'data', '--inside', '/'), { code: 0 });
  t.same(
    asked.map(({ body }) => body),
    [
      '{"Volume":"data","Size":"40GiB"}',
      '{"Volume":"data"}',
      '{}',
      '{"Volume":"data"}',
      '{"Snapshot":"snap-1"}',
      '{"Source":"pgdata","Volume":"data"}',
      '{"Disk":"vol-1","Volume":"data","Inside":"srv"}',
      '{"Disk":"vol-1","Volume":"data","Inside":""}',
    ],
  );
  t.match(await ask('resize', 'data'), { code: 2, error: /needs its new size/ });
  t.match(await ask('snapshot', 'data', '--inside', 'x'), { code: 2, error: /--inside only goes with volume import/ });
  t.match(await drayage(state, 'ports', '--inside', 'x'), { code: 2, error: /--inside only goes/ });
  t.match(await ask('--help'), { code: 0, out: /snapshots \[VOLUME\]\n.*\n.*import DISK VOLUME \[--inside FOLDER\]/s });
});

t.test('forget takes exactly one network', async (t) => {
  const { state, asked } = await fakePlugin(t, { '/Drayage.Forget': { body: { Network: 'abcdef' } } });
  t.match(await drayage(state, 'forget', 'abc'), { code: 0, out: /abcdef is forgotten/ });
  t.same(asked, [{ path: '/Drayage.Forget', body: '{"Network":"abc"}' }]);
  t.match(await drayage(state, 'forget'), { code: 2, error: /forget needs a NETWORK-ID/ });
  t.match(await drayage(state, 'forget', 'abc', 'def'), { code: 2, error: /"def" is not expected/ });
});

const port = {
  Network: 'web',
  Endpoint: '5f3a'.repeat(16),
  Protocol: 'tcp',
  HostIP: '',
  HostPort: 8080,
  Target: '10.64.3.2:80',
};

t.test('ports are shown as a table, and as they came with --json', async (t) => {
  const { state } = await fakePlugin(t, { '/Drayage.Ports': { body: { Ports: [port] } } });
  const { code, out } = await drayage(state, 'ports');
  t.equal(code, 0);
  t.equal(
    out,
    [
      'HOST IP  HOST PORT  PROTOCOL  TARGET        NETWORK  ENDPOINT',
      '-        8080       tcp       10.64.3.2:80  web      5f3a5f3a5f3a',
    ].join('\n'),
  );
  t.same(JSON.parse((await drayage(state, 'ports', '--json')).out), { Ports: [port] });
});

t.test('routes, networks and status are shown; nothing to show is said in words', async (t) => {
  const { state } = await fakePlugin(t, {
    '/Drayage.Routes': {
      body: {
        Routes: [
          {
            ...{ Prefix: '10.64.3.0/24', Table: 'rtb-1', NextHop: 'eni-7', Host: 'b', Kind: 'prefix' },
            ...{ State: 'blackhole', Owner: 'foreign', Drift: 'blackhole of a terminated host' },
          },
        ],
      },
    },
    '/Drayage.Networks': { body: { Networks: null } },
    '/Drayage.Status': { body: { Version: '0.1.0', Provider: { Name: 'etcd', Reachable: true }, Warnings: [] } },
  });
  t.match(
    (await drayage(state, 'routes')).out,
    /PREFIX +TABLE +NEXT HOP +HOST +KIND +STATE +OWNER +DRIFT\n10\.64\.3\.0\/24 +rtb-1 +eni-7 +b +prefix +blackhole +foreign +blackhole of a t/,
  );
  t.equal((await drayage(state, 'networks')).out, 'This host has no vpc network.');
  t.equal(
    (await drayage(state, 'status')).out,
    'Version:  0.1.0\nProvider:\n  Name:      etcd\n  Reachable: yes\nWarnings: -',
  );
});

t.test('doctor shows the worst first with its remedy, and fails when something is bad', async (t) => {
  const good = { Check: 'uplink', State: 'good', Found: 'eth0 with 10.0.1.7.' };
  const bad = { Check: 'quota', State: 'bad', Found: 'rtb-1 is full.', Remedy: 'Have it raised.' };
  const ill = await fakePlugin(t, { '/Drayage.Doctor': { body: { Findings: [good, bad] } } });
  const { code, out } = await drayage(ill.state, 'doctor');
  t.equal(code, 1);
  t.equal(
    out,
    'bad      quota   rtb-1 is full.\n                 → Have it raised.\ngood     uplink  eth0 with 10.0.1.7.\n\n1 bad, 1 good',
  );
  const well = await fakePlugin(t, { '/Drayage.Doctor': { body: { Findings: [good] } } });
  t.match(await drayage(well.state, 'doctor'), { code: 0, out: /1 good$/ });
  t.same(JSON.parse((await drayage(well.state, 'doctor', '--json')).out), { Findings: [good] });
});

t.test('policy is printed without a plugin, narrowed as asked, and takes no other cloud', async (t) => {
  const state = stateFolder(t);
  const wide = await drayage(state, 'policy', 'aws');
  t.equal(wide.code, 0);
  t.ok(JSON.stringify(JSON.parse(wide.out)).includes('ec2:CreateRoute'));
  const narrow = await drayage(state, 'policy', 'aws', '--region', 'cn-north-1', '--vpc', 'vpc-1');
  t.match(narrow.out, /arn:aws-cn:ec2:cn-north-1:\*:vpc\/vpc-1/);
  const aliyun = await drayage(state, 'policy', 'aliyun', '--tables', 'vtb-1,vtb-2');
  t.match(aliyun.out, /routetable\/vtb-1"[\s\S]*routetable\/vtb-2"/);
  const volumes = await drayage(state, 'policy', 'aws', '--plugin', 'volume', '--cluster', 'mine');
  t.match(volumes.out, /"ec2:ResourceTag\/drayage:cluster": "mine"/);
  t.match(volumes.out, /"elasticfilesystem:CreateMountTarget"[\s\S]*"aws:ResourceTag\/drayage:cluster": "mine"/);
  t.notMatch(volumes.out, /CreateRoute|DeleteFileSystem/);
  const disks = await drayage(state, 'policy', 'aliyun', '--plugin', 'volume');
  t.match(disks.out, /ecs:AttachDisk/);
  t.match(disks.out, /nas:CreateMountTarget/);
  t.notMatch(disks.out, /nas:Delete(FileSystem|MountTarget)/);
  t.match(await drayage(state, 'policy', 'aws', '--plugin', 'x'), { code: 2, error: /"x"; there are network and vol/ });
  t.match(await drayage(state, 'policy', 'aws', '--plugin', 'volume', '--vpc', 'x'), {
    code: 2,
    error: /--vpc does not go with policy aws --plugin volume/,
  });
  t.match(await drayage(state, 'policy', 'aws', '--cluster', 'x'), { code: 2, error: /--cluster does not go with/ });
  t.match(await drayage(state, 'policy', 'azure'), { code: 2, error: /"azure"; there are aws and aliyun/ });
  t.match(await drayage(state, 'policy', 'aliyun', '--vpc', 'x'), { code: 2, error: /--vpc does not go with/ });
  t.match(await drayage(state, 'policy'), { code: 2, error: /policy needs aws or aliyun/ });
  t.match(await drayage(state, 'routes', '--region', 'x'), { code: 2, error: /only go with policy/ });
});

t.test('a record in a list is shown in words', async (t) => {
  const lost = [{ prefix: '10.64.3.0/24', owner: 'b', other: '10.64.3.0/25' }];
  const { state } = await fakePlugin(t, { '/Drayage.Status': { body: { Provider: { lost } } } });
  t.match((await drayage(state, 'status')).out, /lost: prefix 10\.64\.3\.0\/24 owner b other 10\.64\.3\.0\/25$/);
});

t.test('reconcile hands --dry-run on, and fails when something could not be repaired', async (t) => {
  const { state, asked } = await fakePlugin(t, {
    '/Drayage.Reconcile': { body: { Drift: [{ What: 'route 10.64.3.2 is gone', Repaired: false }] } },
  });
  t.match(await drayage(state, 'reconcile', '--dry-run'), { code: 0, out: /route 10\.64\.3\.2 is gone +no/ });
  t.match(await drayage(state, 'reconcile'), { code: 1, out: /is gone/ });
  t.same(
    asked.map(({ body }) => body),
    ['{"DryRun":true}', '{"DryRun":false}'],
  );
});

t.test("the plugin's own sentence is passed on, and control characters are not", async (t) => {
  const { state } = await fakePlugin(t, {
    '/Drayage.Status': { status: 500, body: { Err: 'NOT_READY: The plugin is still starting.' } },
    '/Drayage.Ports': { body: { Ports: [{ ...port, Network: 'we\u001b[31mb\u0007\n' }] } },
    '/Drayage.Routes': { body: 'not JSON' },
  });
  t.same(await drayage(state, 'status'), {
    code: 1,
    out: '',
    error: 'drayage: NOT_READY: The plugin is still starting.',
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
  t.notMatch((await drayage(state, 'ports')).out.replaceAll('\n', ''), /[\u0000-\u001f]/);
  t.match(await drayage(state, 'routes'), { code: 1, error: /HTTP 200 and no explanation/ });
  t.match(await drayage(state, 'networks'), { code: 1, error: /older than this command/ });
});

t.test('a plugin that is not there, or not answering, is told apart from a refusal', async (t) => {
  const empty = stateFolder(t);
  t.match(await drayage(empty, 'ports'), {
    code: 3,
    error: /^drayage: There is no .*admin\.sock\. Is the plugin enabled/,
  });
  writeFileSync(join(empty, 'network', 'admin.sock'), '');
  t.match(await drayage(empty, 'ports'), { code: 3, error: /Nobody answers at/ });
  const { socket } = await fakePlugin(t, { '/Drayage.Ports': { body: undefined } });
  t.match(await drayage(`/tmp/${'x'.repeat(100)}`, 'ports'), { code: 3, error: /longer than the 107 bytes/ });
  await t.rejects(ask(socket, '/Drayage.Ports', {}, 100), { message: /did not answer within 0\.1 s/, exitCode: 3 });
});

t.test('wrong usage is explained', async (t) => {
  t.match(await drayage('/nowhere'), { code: 2, error: /^Usage: drayage COMMAND/ });
  for (const word of ['--help', 'help']) t.match(await drayage('/nowhere', word), { code: 0, out: /Examples:/ }, word);
  for (const words of [
    ['volume', 'help'],
    ['help', 'volume'],
  ]) {
    t.match(await drayage('/nowhere', ...words), { code: 0, out: /^Usage: drayage volume COMMAND/ });
  }
  t.match(await drayage('/nowhere', 'port'), { code: 2, error: /no command "port"; there are ports, networks/ });
  t.match(await drayage('/nowhere', 'ports', 'all'), { code: 2, error: /"all" is not expected/ });
  t.match(await drayage('/nowhere', 'ports', '--dry-run'), { code: 2, error: /only goes with reconcile/ });
  t.match(await drayage('/nowhere', 'ports', '--jsno'), { code: 2, error: /Unknown option '--jsno'\. See/ });
});

t.test('bin/drayage runs through a link from anywhere', async (t) => {
  const { state } = await fakePlugin(t, { '/Drayage.Ports': { body: { Ports: [] } } });
  const folder = join(state, 'bin');
  mkdirSync(folder);
  symlinkSync(join(import.meta.dirname, '../../../bin/drayage'), join(folder, 'drayage'));
  const { stdout } = await promisify(execFile)(join(folder, 'drayage'), ['ports', '--state', state], {
    cwd: '/',
    timeout: 20_000,
  });
  t.equal(stdout, 'No port is published.\n');
});
