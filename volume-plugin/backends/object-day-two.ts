import { PluginError } from '../../shared/errors.ts';
import type { DayTwo } from './backend.ts';

/** What is done with volumes while they are used: nothing of it concerns volumes in buckets, and each says why. */
export const objectDayTwo: DayTwo = {
  resize: async ({ name }) => {
    throw unable('A size', name, 'A bucket is as large as what is in it');
  },
  snapshot: async ({ name }) => {
    throw unable('A snapshot', name, 'Turn versioning on in the bucket, or copy its objects');
  },
  snapshots: async () => [],
  removeSnapshot: async (snapshot) => {
    throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot });
  },
  import: async ({ disk, volume }) => {
    const instead = 'A bucket becomes a volume with docker volume create -o type=object -o bucket= -o prefix=';
    throw unable(`To import ${disk}`, volume, instead);
  },
  thaw: async () => false,
};

const unable = (what: string, volume: string, instead: string): PluginError =>
  new PluginError('VOLUME_UNABLE', { what, volume, type: 'object', instead });
