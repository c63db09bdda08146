/** Volumes of this project, mounted as the plugin mounts them: by a keeper and an engine, without Docker. */
import type { EngineOptions } from '../../volume-plugin/engine/wire.ts';
import { childrenOf } from '../rig/command.ts';
import { ObjectMount } from '../rig/object-mount.ts';
import type { BucketMount, Mounter } from './object-mounts.ts';
import type { ObjectServer } from './object-server.ts';

const DRAIN_MS = 300_000;

async function mount(
  { endpoint, bucket, key }: ObjectServer,
  prefix: string,
  options: Partial<EngineOptions>,
): Promise<BucketMount> {
  const credentials = { accessKeyId: key.id, accessKeySecret: key.secret };
  // What the server is; the addresses of AWS would tell it by themselves.
  const store = { kind: 's3', vendor: 'aws', bucket, endpoint, region: 'us-east-1', credentials } as const;
  const made = await ObjectMount.make(undefined, { store, prefix: `${prefix}/`, logLevel: 'error', ...options });
  const engine = await made.engine();
  return {
    target: made.target,
    pids: () => [engine, ...childrenOf(engine)],
    end: async () => {
      try {
        await made.drain(undefined, DRAIN_MS);
        await made.unmount();
      } finally {
        await made.remove();
      }
    },
  };
}

export const OURS: readonly Mounter[] = [
  {
    name: 'ours',
    version: async () => 'usual options',
    mount: (server, prefix) => mount(server, prefix, {}),
  },
  {
    name: 'ours_relaxed',
    version: async () => 'consistency=relaxed,durability=local',
    mount: (server, prefix) => mount(server, prefix, { consistency: 'relaxed', durability: 'local' }),
  },
];
