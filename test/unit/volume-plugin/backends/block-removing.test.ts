import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { codeOf, context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { boundTo, cluster } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('removing keeps what on-remove says, by the option, the setting, or as ever', async (t) => {
  const { a, b, disks, again } = await cluster(t);
  const write = async (volume: Volume): Promise<void> => {
    await a.mount(volume);
    writeFileSync(a.inside(volume.name, 'row'), volume.name);
    await a.backend.unmount(volume, a.target(volume.name), context());
  };
  const deleted = await a.create('deleted');
  await write(deleted);
  await a.remove(deleted);
  t.same(readdirSync(disks), []);

  const kept = await a.create('kept', { size: '16m', 'on-remove': 'snapshot' });
  await write(kept);
  await a.remove(kept);
  await a.remove(kept);
  t.equal(await b.find('kept'), undefined);
  const [snapshot] = await b.snapshots('kept');
  t.match(snapshot, { reason: 'on-remove', state: 'ready' });
  const back = await b.create('back', { from: snapshot?.id ?? '' });
  await b.mount(back);
  t.equal(readFileSync(b.inside('back', 'row'), 'utf8'), 'kept');
  await b.leave(back);

  const strict = await again(0, { onRemove: 'retain' });
  const retained = await strict.create('retained');
  await write(retained);
  await strict.remove(retained);
  t.equal(await b.find('retained'), undefined);
  const found = await b.import('retained', 'again');
  t.match(found, { name: 'again', options: { size: '16m' } });
  t.same((await b.find('again'))?.handle, found.handle);
  await b.mount(found);
  t.equal(readFileSync(b.inside('again', 'row'), 'utf8'), 'retained');
  await b.leave(found);
  // The name is free again, and its first disk's token burned.
  const second = await strict.create('retained');
  t.not(second.handle.disk, retained.handle.disk);
  const unused = await strict.create('unused', { size: '16m', 'on-remove': 'snapshot' });
  await strict.remove(unused);
  t.same(await b.snapshots('unused'), [], 'what was never written to is not worth a snapshot');
});

t.test('a removal that a crash cut off after its snapshot takes no second one', async (t) => {
  const { a, again } = await cluster(t);
  const volume = await a.create('data', { size: '16m', 'on-remove': 'snapshot' });
  await a.mount(volume);
  await a.leave(volume);
  const dying = await again(0, {
    wrap: (provider) => ({ ...boundTo(provider), remove: () => Promise.reject(new Error('killed')) }),
  });
  await t.rejects(dying.remove(volume), { message: 'killed' });
  t.ok(await a.find('data'));
  await a.remove(volume);
  t.equal((await a.snapshots('data')).length, 1);
});

t.test('what was written after a refused removal is in the snapshot of the next one', async (t) => {
  const { a, b, again } = await cluster(t);
  const volume = await a.create('data', { size: '16m', 'on-remove': 'snapshot' });
  await a.mount(volume);
  writeFileSync(a.inside('data', 'row'), 'before');
  await a.leave(volume);
  const refused = await again(0, {
    wrap: (provider) => ({
      ...boundTo(provider),
      remove: () => Promise.reject(new PluginError('BACKEND_REFUSED', { provider: 'loop', what: 'it' })),
    }),
  });
  t.equal(await codeOf(refused.backend.remove({ ...volume, removal: 'first-removal' }, context())), 'BACKEND_REFUSED');
  await b.mount(volume);
  writeFileSync(b.inside('data', 'row'), 'after');
  await b.leave(volume);
  await a.backend.remove({ ...volume, removal: 'second-removal' }, context());
  const last = (await a.snapshots('data')).toSorted((x, y) => x.created.localeCompare(y.created)).at(-1);
  const back = await a.create('back', { from: last?.id ?? '' });
  await a.mount(back);
  t.equal(readFileSync(a.inside('back', 'row'), 'utf8'), 'after');
  await a.leave(back);
});

t.test('a removal that is resumed leaves alone what another host has made under the name since', async (t) => {
  const { a, b } = await cluster(t);
  const old = await a.create('data');
  await b.remove(old);
  const anew = await b.create('data', { size: '17m' }, 'twice');
  t.not(anew.handle.disk, old.handle.disk);
  await a.backend.remove({ ...old, resumed: true }, context());
  t.same((await b.find('data'))?.handle, anew.handle, 'that is another volume');
  await a.backend.remove({ ...old, resumed: false }, context());
  t.equal(await b.find('data'), undefined, 'who asks for it now means what has the name now');
});

t.test('a disk that another namespace still has mounted is not taken from it', async (t) => {
  const asked: string[] = [];
  const { a } = await cluster(t, {
    // A cloud does not look.
    wrap: (provider) => ({ ...boundTo(provider), detach: async (id: string) => void asked.push(id) }),
  });
  const volume = await a.create('data');
  await a.mount(volume);
  const other = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo there; exec sleep 60']);
  const gone = once(other, 'exit');
  t.teardown(() => other.kill());
  await once(other.stdout, 'data');
  await a.backend.unmount(volume, a.target('data'), context());
  t.match(await messageOf(a.backend.leave(volume, context())), /^VOLUME_IN_USE: .*in another namespace/);
  t.match(await messageOf(a.remove(volume)), /^VOLUME_IN_USE/);
  t.same(asked, []);
  other.kill();
  await gone;
  t.equal(await codeOf(a.backend.leave(volume, context(1_000))), 'STILL_WORKING');
  t.same(asked, [volume.handle.disk]);
  await a.provider.detach(volume.handle.disk ?? '', 'host-id-0', context());
});
