import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { isUse, killMountUsers } from '../../../../shared/kernel/mount-users.ts';
import { context, inOwnMounts, run, scratch } from '../../volume-plugin/block/scratch.ts';

// With file systems of its own, which no other process of this machine has.
inOwnMounts(import.meta.filename);

const TWO = 'echo ready; sleep 60 & wait';

const fileSystem = (t: Test, name: string) => {
  const target = join(scratch(t), name);
  mkdirSync(target);
  run('mount', '-t', 'tmpfs', `test-${name}`, target);
  const { device, source } = mountAt(readMountTable(), target) ?? { device: '', source: '' };
  return { target, device, source };
};

/** A process in a mount namespace of its own, with what is mounted now. */
const container = async (t: Test, script: string): Promise<ChildProcess> => {
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout ?? child, 'data');
  return child;
};

t.test('who has a file system mounted is killed, with all of its container, and nobody else', async (t) => {
  const other = await container(t, 'echo ready; exec sleep 60');
  const { device, source, target } = fileSystem(t, 'data');
  const users = [await container(t, TWO), await container(t, TWO)];
  const ended = Promise.all(users.map((one) => once(one, 'exit')));
  const killed = await killMountUsers({ device, within: source }, context());
  t.match(await ended, [
    [null, 'SIGKILL'],
    [null, 'SIGKILL'],
  ]);
  t.equal(killed, 4, 'a shell and its child each');
  t.equal(other.exitCode ?? other.signalCode, null);
  t.ok(mountAt(readMountTable(), target), 'the mount itself stays');
  t.equal(await killMountUsers({ device, within: source }, context()), 0);
});

t.test('of a device with several volumes only who has this one is meant, or what is below it', async (t) => {
  const entry = { id: 1, parent: 0, root: '/', options: [], type: 'nfs4', superOptions: [] };
  const at = (source: string, target = '/data', device = '0:50') => ({ ...entry, source, target, device });
  const part = { device: '0:50', within: 'nas:/export/.drayage/volumes/web' };
  t.ok(isUse(part, at('nas:/export/.drayage/volumes/web')));
  t.ok(isUse(part, at('nas:/export/.drayage/volumes/web/html')));
  t.notOk(isUse(part, at('nas:/export/.drayage/volumes/web-2')));
  t.notOk(isUse(part, at('nas:/export')));
  t.notOk(isUse(part, at('nas:/export/.drayage/volumes/web', '/data', '0:51')));
  t.notOk(isUse(part, at(part.within, '/var/lib/docker/plugins/1/propagated-mount/web')), 'the engine looks at all');
  t.ok(isUse({ device: '0:50', within: 'nas:/' }, at('nas:/a')));
  t.ok(isUse({ device: '0:50' }, at('anything')));
});
