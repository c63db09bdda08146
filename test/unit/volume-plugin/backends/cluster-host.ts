import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend, Volume, VolumeRemoval } from '../../../../volume-plugin/backends/backend.ts';
import type { LeaseTimes } from '../../../../volume-plugin/nfs/lease-times.ts';
import { context } from '../block/scratch.ts';

/** In milliseconds. */
export const TIMES: LeaseTimes = {
  ...{ beatMs: 50, patienceMs: 1_000, marginMs: 200, aliveMs: 200 },
  ...{ lookMs: 20, gapMs: 400, resumeMs: 800, roundMs: 3_000 },
};

let makings = 0;

/** What the driver of a host would do with its back-end. Volumes are mounted in the folder `mounts`. */
export const handsOf = (backend: Backend, mounts: string) => {
  const target = (name: string): string => join(mounts, name);
  return {
    target,
    create: (name: string, options: Record<string, string> = {}, making = `making ${makings++}`) =>
      backend.create({ name, options, making }, context()),
    mount: (volume: Volume) => {
      mkdirSync(target(volume.name), { recursive: true });
      return backend.mount(volume, target(volume.name), context());
    },
    unmount: (volume: Volume, ms?: number) => backend.unmount(volume, target(volume.name), context(ms)),
    leave: async (volume: Volume) => {
      await backend.unmount(volume, target(volume.name), context());
      await backend.leave(volume, context());
    },
    remove: (volume: VolumeRemoval) => backend.remove(volume, context()),
    find: (name: string) => backend.find(name, context()),
    list: async () => (await backend.list(context())).map(({ name }) => name).sort(),
  };
};
