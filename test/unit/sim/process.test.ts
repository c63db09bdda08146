import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { run } from '../../rig/command.ts';
import { startAwsSim } from '../../sim/aws/sim.ts';
import { SimControl } from '../../sim/core/control-client.ts';
import { startSimProcess } from '../../sim/core/process.ts';
import type { EffectiveRoute } from '../../sim/core/routes.ts';

t.setTimeout(60_000);

const MAIN = new URL('../../sim/main.ts', import.meta.url).pathname;

interface Made {
  readonly id: string;
  readonly interfaces: readonly { readonly id: string }[];
}

const folder = async (t: { teardown(work: () => unknown): unknown }): Promise<string> => {
  const made = await mkdtemp(path.join(tmpdir(), 'drayage-sim-'));
  t.teardown(() => rm(made, { recursive: true }));
  return made;
};

t.test('a simulator in another network namespace is furnished, disturbed and read through its socket', async (t) => {
  const socket = path.join(await folder(t), 'control.sock');
  const all = { host: '0.0.0.0' };
  const sim = await startSimProcess({
    cloud: 'aws',
    config: { api: all, metadata: all, control: { socket }, region: 'us-west-2' },
    within: ['unshare', '--net'],
  });
  t.teardown(() => sim.close());
  t.match(sim.info, { cloud: 'aws', region: 'us-west-2', control: socket });
  const { control } = sim;
  const vpc = await control.do<Made>('vpc', { cidr: '10.0.0.0/16' });
  const subnet = await control.do<Made>('subnet', { vpc: vpc.id, cidr: '10.0.1.0/24' });
  const { id, interfaces } = await control.do<Made>('instance', { name: 'a', subnet: subnet.id, address: '10.0.1.10' });
  const eni = interfaces[0]?.id;
  const table = await control.do<Made>('tableOf', { subnet: subnet.id });
  await control.do('sourceDestCheck', { id: eni, on: false });
  const seen: EffectiveRoute[][] = [];
  const changed = () => new Promise<void>((resolve) => wake.push(resolve));
  const wake: (() => void)[] = [];
  const following = await control.follow({
    apply: (routes) => {
      seen.push([...routes]);
      for (const resume of wake.splice(0)) resume();
    },
  });
  const vgw = await control.do<Made>('gateway', { kind: 'vgw', vpcs: [vpc.id] });
  const next = changed();
  await control.do('propagate', { table: table.id, prefix: '10.96.0.0/12', gateway: vgw.id });
  await next;
  t.match(seen, [[], [{ table: table.id, prefix: '10.96.0.0/12', target: vgw.id, state: 'active' }]]);
  await following.stop();
  await control.do('terminate', { id });
  t.match(await control.ask('GET', 'state'), { instances: [{ id, state: 'terminated' }] });
  await t.rejects(control.do('terminate', { id: 'i-0' }), /the simulator has no i-0/);
  await t.rejects(control.do('explode'), /no verb explode/);
  t.match(await control.key({ actions: ['ec2:*'] }), { id: /^AKIA/, secret: String });
  t.same(await control.calls(), []);
});

t.test('it ends with whoever started it', async (t) => {
  const socket = path.join(await folder(t), 'control.sock');
  const sim = await startSimProcess({ cloud: 'aws', config: { control: { socket } } });
  await sim.close();
  await t.rejects(sim.control.calls());
  t.throws(() => process.kill(sim.pid, 0), { code: 'ESRCH' });
});

t.test('a simulator that cannot start says why', async (t) => {
  const taken = await startAwsSim();
  t.teardown(() => taken.close());
  const { port } = new URL(taken.endpoint);
  const start = startSimProcess({ cloud: 'aws', config: { api: { port: Number(port) } } });
  await t.rejects(start, /EADDRINUSE/);
});

t.test('faults and the clock are worked over the control interface', async (t) => {
  const sim = await startAwsSim();
  t.teardown(() => sim.close());
  const control = new SimControl(sim.control);
  const id = await control.fault({ service: 'metadata', action: '*', fault: { kind: 'fail', code: '404' }, times: 2 });
  const status = () =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request(`${sim.metadataEndpoint}/latest/meta-data/`, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.once('error', reject);
      sent.end();
    });
  t.equal(await status(), 404);
  await control.removeFault(id);
  t.equal(await status(), 404, 'nobody is known here yet');
  t.match(await control.calls({ service: 'metadata' }), [{ faults: ['fail'] }, { faults: [] }]);
  const before = sim.clock.now();
  await control.advance(60_000);
  t.ok(sim.clock.now() - before >= 60_000);
});

t.test('`npm run sim` prints what to paste and ends on a signal; a bad option is named', async (t) => {
  const sim = spawn(process.execPath, [MAIN, 'aws', '--json', '--hosts', '2'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(sim, 'exit');
  t.teardown(() => sim.kill('SIGKILL'));
  const [line] = (await once(createInterface(sim.stdout), 'line')) as [string];
  t.match(JSON.parse(line), { cloud: 'aws', key: { id: /^AKIA/ }, site: { hosts: [{}, { name: 'host-2' }] } });
  sim.kill('SIGINT');
  t.same(await ended, [0, null]);
  const wrong = await run([process.execPath, MAIN, 'aws', '--hosts', 'many']);
  t.equal(wrong.code, 1);
  t.match(wrong.stderr, /--hosts many: choose a number/);
  t.equal((await run([process.execPath, MAIN, 'azure'])).code, 2);
});

t.test('the metadata service of `npm run sim` answers who asks from this machine', async (t) => {
  const headers = {
    aws: { 'X-aws-ec2-metadata-token-ttl-seconds': '60' },
    aliyun: { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' },
  } as const;
  for (const cloud of ['aws', 'aliyun'] as const) {
    const sim = spawn(process.execPath, [MAIN, cloud, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(sim, 'exit');
    t.teardown(() => sim.kill('SIGKILL'));
    const [line] = (await once(createInterface(sim.stdout), 'line')) as [string];
    const { metadataEndpoint } = JSON.parse(line) as { metadataEndpoint: string };
    const answer = await fetch(`${metadataEndpoint}/latest/api/token`, { method: 'PUT', headers: headers[cloud] });
    t.equal(answer.status, 200, cloud);
    sim.kill('SIGTERM');
    await ended;
  }
});
