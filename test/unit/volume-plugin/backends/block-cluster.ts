import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { KeyedMutex } from '../../../../shared/keyed-mutex.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import type { OnRemove } from '../../../../volume-plugin/backends/block-options.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { context, run, scratch } from '../block/scratch.ts';

/** Hosts of one machine that share a folder of disks, for tests of what is done with volumes. */

export interface Change {
  readonly onRemove?: OnRemove;
  /** So long nobody may be kept from writing, in milliseconds. */
  readonly frozenMs?: number;
  /** Stands before the provider. */
  readonly wrap?: (provider: DiskProvider) => DiskProvider;
}

/** The same for all calls of a test; UUIDs come of it, which other tests that run meanwhile must not make, too. */
const MAKING: string = randomUUID();

/** Two hosts (of one machine) that share a folder of disks. */
export const cluster = async (t: Test, change: Change = {}) => {
  const folder = scratch(t);
  const disks = join(folder, 'disks');
  const host = async (n: number, { onRemove = 'delete', frozenMs = 30_000, wrap = (one) => one }: Change = change) => {
    const self = { id: `host-id-${n}`, name: `host-${n}` };
    const provider = new LoopProvider({ folder: disks, self, quota: undefined });
    const backend = new BlockBackend(wrap(provider), { locks: new KeyedMutex(), onRemove, frozenMs });
    await backend.start(context());
    const target = (name: string): string => join(folder, `mounts-${n}`, name);
    const { dayTwo } = backend;
    return {
      ...{ backend, provider, dayTwo, target },
      create: (name: string, options: Record<string, string> = { size: '16m' }, making = MAKING) =>
        backend.create({ name, options, making }, context()),
      mount: (volume: Volume) => {
        mkdirSync(target(volume.name), { recursive: true });
        return backend.mount(volume, target(volume.name), context());
      },
      leave: async (volume: Volume) => {
        await backend.unmount(volume, target(volume.name), context());
        await backend.leave(volume, context());
      },
      resize: (volume: Volume, size: string, ms?: number) => dayTwo.resize(volume, size, context(ms)),
      snapshot: (volume: Volume, token = 'token') => dayTwo.snapshot(volume, token, context()),
      snapshots: (volume?: string) => dayTwo.snapshots(volume, context()),
      import: (disk: string, volume: string, inside?: string) =>
        dayTwo.import({ disk, volume, ...(inside !== undefined && { inside }) }, context()),
      remove: (volume: Volume) => backend.remove(volume, context()),
      find: (name: string) => backend.find(name, context()),
      inside: (name: string, file = '') => join(target(name), 'data', file),
    };
  };
  const [a, b] = [await host(0), await host(1)];
  return { folder, disks, a, b, again: host };
};

/** Bytes of the file system at a path, as df shows them. */
export const space = (path: string): number => {
  const { blocks, bsize } = statfsSync(path);
  return blocks * bsize;
};

/** The kernel resizes a mounted ext4 for nobody without CAP_SYS_RESOURCE, which a container may not have. */
export const online =
  (BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`) & (1n << 24n)) !== 0n;

export const uuidOf = (source: string): string => run('blkid', '-p', '-o', 'value', '-s', 'UUID', source).trim();

/** The file behind what is mounted there. */
export const imageOf = (target: string): string =>
  run('losetup', '--noheadings', '--output', 'BACK-FILE', mountAt(readMountTable(), target)?.source ?? '').trim();

/** Methods of a class, for a wrapper that changes one of them. */
export const boundTo = (provider: DiskProvider): DiskProvider => {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(provider)).filter((name) => name !== 'constructor');
  const methods = names.map((name) => [name, (Reflect.get(provider, name) as () => unknown).bind(provider)]);
  return { name: provider.name, ...(provider.isPrompt && { isPrompt: true as const }), ...Object.fromEntries(methods) };
};

export const imageNamed = (disks: string, volume: Volume): string => join(disks, `${volume.handle.disk}.img`);
