import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { ask } from '../../../bin/cli/client.ts';
import { volumePolicyDocument } from '../../../shared/cloud/aws/volume-policy.ts';
import { countIn, efsWorld } from './nfs/efs-world.ts';
import { startPlugin } from './plugin-process.ts';

t.setTimeout(60_000);

/** Waits until volumes of a type are at work: on a busy machine the metadata service may be asked more than once. */
const works = async (folder: string, type: string): Promise<void> => {
  for (let n = 0; n < 100; n += 1, await pause(200)) {
    const status = await ask(join(folder, 'state', 'admin.sock'), '/Drayage.Status', {}, 5_000);
    if (new RegExp(`"${type}":"works"`).test(JSON.stringify(status))) return;
  }
  throw new Error(`volumes of type ${type} do not work`);
};

t.test('shares are file systems of AWS beside disks of AWS; one that lets nobody in is said to be so', async (t) => {
  // Where nothing listens on the port of NFS.
  const { aws, hosts } = await efsWorld(t, { fileServer: '127.99.99.99' });
  const { call, folder } = await startPlugin(t, {
    ...{ PROVIDER: 'ebs', NFS_PROVIDER: 'efs', CLUSTER: 'web', CLOUD_ENDPOINT: aws.endpoint },
    METADATA_ENDPOINT: await aws.metadataOf(hosts[0] ?? ''),
  });
  for (const type of ['block', 'nfs']) await works(folder, type);
  t.match((await call('/VolumeDriver.List')).answer, { Volumes: [] });
  t.match(await call('/VolumeDriver.Create', { Name: 'data', Opts: { size: '1GiB' } }), { status: 200 });
  t.same(countIn(aws), { shares: 0, targets: 0 }, 'nothing is made for who needs none');
  const Opts = { type: 'nfs' };
  const begun = performance.now();
  t.match(await call('/VolumeDriver.Create', { Name: 'assets', Opts }), {
    status: 500,
    answer: { Err: /^SHARE_UNREACHABLE: The server of share fs-\w+:\/ .* TCP port 2049 / },
  });
  t.ok(performance.now() - begun < 5_000, 'soon');
  t.same(countIn(aws), { shares: 1, targets: 1 });
  const [[, made] = []] = aws.files.fileSystems.entries();
  t.match(made?.tags, { 'drayage:cluster': 'web' });
  t.match(await call('/VolumeDriver.Create', { Name: 'point', Opts: { ...Opts, share: 'fsap-0123456789abcdef0' } }), {
    status: 500,
    answer: { Err: /^OPTION_INVALID: The volume option share=fsap-.* access point/ },
  });
});

t.test('a right that is missing is named, and a setting that names no share stops the plugin', async (t) => {
  const { aws, hosts } = await efsWorld(t, { policy: volumePolicyDocument() });
  const environment = { PROVIDER: 'ebs', NFS_PROVIDER: 'efs', CLOUD_ENDPOINT: aws.endpoint };
  const metadata = await aws.metadataOf(hosts[0] ?? '');
  const { call, folder } = await startPlugin(t, { ...environment, METADATA_ENDPOINT: metadata });
  await works(folder, 'nfs');
  t.match(await call('/VolumeDriver.Create', { Name: 'assets', Opts: { type: 'nfs' } }), {
    status: 500,
    answer: { Err: /^BACKEND_PERMISSION: The storage provider efs lacks the permission elasticfilesystem:Describe/ },
  });
  const wrong = await startPlugin(t, { ...environment, METADATA_ENDPOINT: metadata, NFS_SHARE: 'fs-12' });
  t.match(wrong.log(), /NFS_SHARE=fs-12 .*no id of a file system/);
});
