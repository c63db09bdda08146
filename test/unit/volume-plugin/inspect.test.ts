import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { ask } from '../../../bin/cli/client.ts';
import { scratch } from './block/scratch.ts';
import { startPlugin } from './plugin-process.ts';

t.setTimeout(60_000);

t.test('docker volume inspect shows where a volume is, how full, and what it was made of', async (t) => {
  const disks = join(scratch(t), 'disks');
  mkdirSync(disks);
  const { call, folder } = await startPlugin(t, { LOOP_FOLDER: disks, NODE_NAME: 'host-1' });
  const admin = (method: string, body: object) =>
    ask(join(folder, 'state', 'admin.sock'), `/Drayage.${method}`, body, 20_000);
  const make = (Name: string, Opts: object) => call('/VolumeDriver.Create', { Name, Opts });
  const mount = async (Name: string): Promise<void> => {
    t.match(await call('/VolumeDriver.Mount', { Name, ID: 'run' }), { status: 200, answer: { Mountpoint: /./ } });
  };
  const statusOf = async (Name: string): Promise<object> => {
    const { answer } = await call('/VolumeDriver.Get', { Name });
    return (answer as { Volume: { Status: object } }).Volume.Status;
  };
  await make('data', { size: '32m', fs: 'ext4' });
  t.match(await statusOf('data'), { type: 'block', state: 'available', size: 32 * 2 ** 20, fs: 'not formatted yet' });
  await mount('data');
  const { Snapshot } = await admin('VolumeSnapshot', { Volume: 'data' });
  const { Id } = Snapshot as { Id: string };
  await make('copy', { from: Id });
  await mount('copy');
  // How full it is is asked for behind the answer.
  for (let n = 0; n < 200 && !('used' in (await statusOf('copy'))); n += 1) await pause(50);
  t.match(await statusOf('copy'), {
    ...{ type: 'block', provider: 'loop', state: 'mounted', host: 'host-1', holds: 1, size: 32 * 2 ** 20, fs: 'ext4' },
    ...{ device: /^\/dev\/loop\d+ \(7:\d+\)$/, used: Number, free: Number, options: `from=${Id}`, from: Id },
    ...{ fromSnapshot: Id, onRemove: 'delete' },
  });
  for (const Name of ['copy', 'data']) {
    t.match(await call('/VolumeDriver.Unmount', { Name, ID: 'run' }), { status: 200 });
  }
});
