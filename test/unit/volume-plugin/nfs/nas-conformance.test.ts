import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type ShareWorld, shareProviderConformance } from '../../../conformance/share-provider.ts';
import type { AliyunConfig } from '../../../sim/aliyun/sim.ts';
import { GIB, type HostOptions, nasSite } from './nas-world.ts';

t.setTimeout(120_000);

const MAKING = ['CreateFileSystem', 'CreateMountTarget', 'CreateAccessGroup', 'DeleteAccessGroup'] as const;

const world = async (
  t: Test,
  config: AliyunConfig,
  usual: HostOptions,
  times: { readonly createMs: number; readonly targetMs: number },
): Promise<ShareWorld> => {
  const { sim, host } = await nasSite(t, config, usual);
  Object.assign(sim.nas.times, times);
  const others = sim.nas.make({ description: 'theirs' }).id;
  const smb = sim.nas.make({ protocol: 'SMB' }).id;
  await pause(config.lagMs ?? 0);
  return {
    host: (n, cluster) => host(n, cluster === undefined ? {} : { cluster }),
    makes: true,
    lateMs: config.lagMs === undefined ? 0 : 2_000,
    count: () => {
      const { fileSystems, mountTargets } = sim.nas.state();
      return { shares: fileSystems.length, targets: mountTargets.length };
    },
    others,
    missing: [
      'deadbeef00',
      'extreme-00deadbeef',
      'deadbeef00:/team',
      'deadbeef00-abc12.cn-hangzhou.nas.aliyuncs.com:/',
    ],
    nonsense: [
      '',
      'data',
      '/data',
      'cpfs-125487abcd',
      `${others}:team`,
      `${others}:/a/../b`,
      'extreme-0015abcd:/a',
      smb,
    ],
    loseAnswers: () => {
      for (const action of MAKING) sim.faults.loseReply(action);
    },
    limitOf: ({ id }, folder) => {
      const gib = sim.nas.limits.get(`${id.split(':')[0]} ${folder}`);
      return gib === undefined ? undefined : gib * GIB;
    },
  };
};

t.test('file systems of NAS are shares', (t) =>
  shareProviderConformance(t, (t) => world(t, {}, {}, { createMs: 0, targetMs: 0 })),
);

t.test('also where every state takes time, and what is shown is late', (t) =>
  shareProviderConformance(t, (t) => world(t, { lagMs: 100 }, {}, { createMs: 200, targetMs: 150 })),
);
