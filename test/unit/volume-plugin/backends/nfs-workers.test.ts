// The back-end for shares with real mounts and real worker processes; only the server is made up.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { NfsBackend } from '../../../../volume-plugin/backends/nfs.ts';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import { codeOf, context, inOwnMounts } from '../block/scratch.ts';
import { madeUpShares } from '../nfs/made-up-server.ts';

inOwnMounts(import.meta.filename);

const hosts = (t: Test) => {
  const shares = madeUpShares(t, '/x');
  const host = async (n: number) => {
    const { mounts, target } = shares.host(n);
    const backend = new NfsBackend({
      ...{ provider: new ExportProvider(['server:/x']), mounts, onRemove: 'delete', onLost: () => undefined },
      ...{ host: { id: `id-${n}`, name: `host-${n}` }, folder: join(shares.folder, `state-${n}`) },
      life: newContext(silentLogger, Number.POSITIVE_INFINITY),
    });
    await backend.start(context());
    t.teardown(() => backend.close());
    return { backend, target };
  };
  return { ...shares, host };
};

t.test('volumes are made, mounted on two hosts, unmounted and removed through worker processes', async (t) => {
  const { host, onServer } = hosts(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.backend.create({ name: 'data', options: { mode: '0700' }, making: '1' }, context());
  const mounted = await a.backend.mount(volume, a.target('data'), context());
  t.match(mountAt(readMountTable(), a.target('data')), { source: mounted.source, device: mounted.device });
  writeFileSync(join(a.target('data'), 'x'), 'hello');
  t.equal(readFileSync(onServer('x', '.drayage/volumes/data/x'), 'utf8'), 'hello');
  const found = await b.backend.find('data', context());
  if (found === undefined) throw new Error('not found');
  await b.backend.mount(found, b.target('data'), context());
  t.equal(await codeOf(a.backend.remove(volume, context())), 'VOLUME_BUSY');
  for (const { backend, target } of [a, b]) {
    await backend.unmount(volume, target('data'), context());
    await backend.leave(volume, context());
  }
  await b.backend.remove(found, context());
  t.same(await a.backend.list(context()), []);
});

t.test('a hundred volumes on one share take no long time each', async (t) => {
  const { host } = hosts(t);
  const { backend, target } = await host(0);
  const names = Array.from({ length: 100 }, (_, n) => `many-${n}`);
  const times: Record<string, number[]> = { create: [], mount: [], unmount: [], remove: [] };
  const timed = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const begun = performance.now();
    const result = await work;
    times[what]?.push(performance.now() - begun);
    return result;
  };
  const volumes = [];
  for (const name of names) volumes.push(await timed('create', backend.create({ name, options: {} }, context())));
  for (const one of volumes) await timed('mount', backend.mount(one, target(one.name), context()));
  t.equal((await backend.list(context())).length, 100);
  for (const one of volumes) {
    await timed(
      'unmount',
      backend.unmount(one, target(one.name), context()).then(() => backend.leave(one, context())),
    );
  }
  for (const one of volumes) await timed('remove', backend.remove(one, context()));
  for (const [what, all] of Object.entries(times)) {
    const median = all.sort((x, y) => x - y)[50] ?? 0;
    t.comment(`${what}: ${median.toFixed(1)} ms`);
    t.ok(median < 200, what);
  }
});
