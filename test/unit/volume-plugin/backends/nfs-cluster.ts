import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { cancellable, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import type { Volume, VolumeRemoval } from '../../../../volume-plugin/backends/backend.ts';
import { NfsBackend } from '../../../../volume-plugin/backends/nfs.ts';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import type { LeaseTimes } from '../../../../volume-plugin/nfs/lease-times.ts';
import type { ShareProvider } from '../../../../volume-plugin/nfs/share-provider.ts';
import { context, scratch } from '../block/scratch.ts';
import { LocalMounts, LocalServers } from '../nfs/local-shares.ts';

export const SHARE = '10.0.0.5:/export';

export interface HostOptions {
  /** NFS_SHARE. */
  readonly usual?: readonly string[];
  readonly provider?: ShareProvider;
  readonly onRemove?: 'delete' | 'retain';
}

/** In milliseconds. */
const TIMES: LeaseTimes = {
  ...{
    beatMs: 50,
    patienceMs: 1_000,
    marginMs: 200,
    aliveMs: 200,
    lookMs: 20,
    gapMs: 400,
    resumeMs: 800,
    roundMs: 3_000,
  },
};

/** Hosts that use shares of the same servers. */
export const shareCluster = async (t: Test) => {
  const folder = scratch(t);
  let makings = 0;
  const servers = new LocalServers(join(folder, 'servers'));
  /** The same number again: that host after a restart of its plugin. */
  const host = async (n: number, { usual = [SHARE], provider, onRemove = 'delete' }: HostOptions = {}) => {
    const life = cancellable(newContext(silentLogger, Number.POSITIVE_INFINITY));
    t.teardown(() => life.cancel(new Error('the test is over')));
    /** Where users of a mount were killed, and volumes that were lost. */
    const [killed, lost]: [string[], string[]] = [[], []];
    const mounts = new LocalMounts(servers, `host-${n}`);
    const backend = new NfsBackend({
      ...{ provider: provider ?? new ExportProvider(usual), mounts, onRemove },
      writers: { times: TIMES, kill: async ({ target: path }) => killed.push(path) },
      onLost: (volume) => lost.push(volume),
      life: life.context,
      ...{ host: { id: `id-${n}`, name: `host-${n}` }, folder: join(folder, `state-${n}`) },
    });
    await backend.start(context());
    t.teardown(() => backend.close());
    const target = (name: string): string => join(folder, `mounts-${n}`, name);
    return {
      ...{ backend, mounts, target, killed, lost },
      create: (name: string, options: Record<string, string> = {}, making = `making ${makings++}`) =>
        backend.create({ name, options, making }, context()),
      mount: (volume: Volume) => {
        mkdirSync(target(volume.name), { recursive: true });
        return backend.mount(volume, target(volume.name), context());
      },
      unmount: (volume: Volume) => backend.unmount(volume, target(volume.name), context()),
      leave: async (volume: Volume) => {
        await backend.unmount(volume, target(volume.name), context());
        await backend.leave(volume, context());
      },
      remove: (volume: VolumeRemoval) => backend.remove(volume, context()),
      find: (name: string) => backend.find(name, context()),
      list: async () => (await backend.list(context())).map(({ name }) => name).sort(),
      inside: (name: string, file = '') => join(target(name), file),
    };
  };
  return { folder, servers, host, root: servers.root(SHARE) };
};

/** Until something is so, for what goes on in the background. */
export const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  for (let n = 0; n < 500 && !(await isSo()); n += 1) await new Promise((resolve) => setTimeout(resolve, 10));
};
