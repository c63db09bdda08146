import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ask } from '../../../bin/cli/client.ts';
import { ebsWorld } from './block/ebs-world.ts';
import { startPlugin } from './plugin-process.ts';

t.setTimeout(60_000);

t.test('volumes are disks of AWS; while AWS is down, what is known is answered all the same', async (t) => {
  const { aws, hosts } = await ebsWorld(t);
  const plugin = async (host: number) =>
    startPlugin(t, {
      ...{ PROVIDER: 'ebs', CLUSTER: 'web', REGION: aws.region, CLOUD_ENDPOINT: aws.endpoint },
      METADATA_ENDPOINT: await aws.metadataOf(hosts[host] ?? ''),
    });
  const [first, second] = [await plugin(0), await plugin(1)];
  const Opts = { size: '10GiB', iops: '4000', tags: 'team=web', 'on-remove': 'delete' };
  t.match(await first.call('/VolumeDriver.Create', { Name: 'data', Opts }), { status: 200, answer: {} });
  t.match(aws.disks.volumes(), [
    {
      ...{ size: 10, type: 'gp3', iops: 4000, zone: `${aws.region}a`, state: 'available' },
      tags: { Name: 'data', team: 'web', 'drayage:volume': 'data', 'drayage:cluster': 'web' },
    },
  ]);
  const get = (one: typeof first, Name: string) => one.call('/VolumeDriver.Get', { Name });
  t.match(await get(second, 'data'), { status: 200, answer: { Volume: { Name: 'data' } } });
  t.match(await first.call('/VolumeDriver.Create', { Name: 'other', Opts: { kind: 'cloud_essd' } }), {
    status: 500,
    answer: { Err: /^OPTION_INVALID: The volume option kind=cloud_essd/ },
  });
  aws.faults.storm(600_000);
  for (const one of [first, second]) {
    const begun = performance.now();
    t.match(await get(one, 'data'), { status: 200, answer: { Volume: { Name: 'data', Status: { provider: 'ebs' } } } });
    t.match((await one.call('/VolumeDriver.List')).answer, { Volumes: [{ Name: 'data' }] });
    t.ok(performance.now() - begun < 2_000, 'from what is known here');
  }
  aws.faults.clear();
  t.match(await first.call('/VolumeDriver.Remove', { Name: 'data' }), { status: 200 });
  t.same(aws.disks.volumes(), []);
});

t.test('a right that is missing is named by the plugin', async (t) => {
  const { aws, hosts } = await ebsWorld(t, { actions: ['ec2:Describe*', 'ec2:CreateTags'] });
  const { call } = await startPlugin(t, {
    ...{ PROVIDER: 'ebs', CLOUD_ENDPOINT: aws.endpoint },
    METADATA_ENDPOINT: await aws.metadataOf(hosts[0] ?? ''),
  });
  t.match(await call('/VolumeDriver.Create', { Name: 'data', Opts: {} }), {
    status: 500,
    answer: { Err: /^BACKEND_PERMISSION: The storage provider ebs lacks the permission ec2:CreateVolume/ },
  });
});

t.test('keys that AWS refuses are said to be that, and are in no answer, log, status or record', async (t) => {
  const { aws, hosts } = await ebsWorld(t);
  const keys = {
    ACCESS_KEY_ID: 'AKIAWRONGWRONGWRONG0',
    ACCESS_KEY_SECRET: 'Hush/secret+0123456789',
    SECURITY_TOKEN: 'Hush-token',
  };
  const { call, folder, log } = await startPlugin(t, {
    ...{ PROVIDER: 'ebs', CLOUD_ENDPOINT: aws.endpoint, LOG_LEVEL: 'debug', ...keys },
    METADATA_ENDPOINT: await aws.metadataOf(hosts[0] ?? ''),
  });
  const created = await call('/VolumeDriver.Create', { Name: 'data', Opts: {} });
  t.match(created, { status: 500, answer: { Err: /BACKEND_AUTH: The storage provider ebs refused the credentials/ } });
  const got = await call('/VolumeDriver.Get', { Name: 'data' });
  const status = await ask(join(folder, 'state', 'admin.sock'), '/Drayage.Status', {}, 5_000);
  const state = join(folder, 'state', 'state');
  const records = readdirSync(state)
    .filter((name) => /\.jsonl?$/.test(name))
    .map((name) => readFileSync(join(state, name), 'utf8'));
  t.ok(log().length > 0 && records.join('').includes('self'), 'there is something to look at');
  const text = [created, got, status].map((one) => JSON.stringify(one)).join() + log() + records.join();
  for (const secret of ['Hush/secret', 'Hush-token']) t.notOk(text.includes(secret), secret);
});
