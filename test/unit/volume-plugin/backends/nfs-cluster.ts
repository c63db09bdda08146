import { join } from 'node:path';
import type { Test } from 'tap';
import { cancellable, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { NfsBackend } from '../../../../volume-plugin/backends/nfs.ts';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import type { ShareProvider } from '../../../../volume-plugin/nfs/share-provider.ts';
import { until as eventually } from '../../../rig/command.ts';
import { context, scratch } from '../block/scratch.ts';
import { LocalMounts, LocalServers } from '../nfs/local-shares.ts';
import { handsOf, TIMES } from './cluster-host.ts';

export const SHARE = '10.0.0.5:/export';

export interface HostOptions {
  /** NFS_SHARE. */
  readonly usual?: readonly string[];
  readonly provider?: ShareProvider;
  readonly onRemove?: 'delete' | 'retain';
}

/** Hosts that use shares of the same servers. */
export const shareCluster = async (t: Test) => {
  const folder = scratch(t);
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
    const hands = handsOf(backend, join(folder, `mounts-${n}`));
    return {
      ...{ backend, mounts, killed, lost, ...hands },
      inside: (name: string, file = '') => join(hands.target(name), file),
    };
  };
  return { folder, servers, host, root: servers.root(SHARE) };
};

/** Until something is so, for what goes on in the background. */
export const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  await eventually('what goes on in the background', isSo);
};
