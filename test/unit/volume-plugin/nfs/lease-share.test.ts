import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLogger } from '../../../../shared/log.ts';
import { LeaseShare } from '../../../../volume-plugin/nfs/lease-share.ts';
import { LEASE_TIMES } from '../../../../volume-plugin/nfs/lease-times.ts';
import type { ShareFiles } from '../../../../volume-plugin/nfs/share-files.ts';
import { scratch } from '../block/scratch.ts';
import { context } from './lease-scene.ts';
import { LocalServers, localFiles } from './local-shares.ts';

const { patienceMs } = LEASE_TIMES;
const VOLUME = 'data';

/** A plugin whose timers do not go off: as of a process that was stopped, and goes on with what came meanwhile. */
const stopped = (t: Test) => {
  const servers = new LocalServers(scratch(t, '/dev/shm'));
  const lost: string[] = [];
  const timers: number[] = [];
  let now = 1_000;
  const clock = {
    now: () => now,
    after: (ms: number) => {
      timers.push(now + ms);
      return () => undefined;
    },
  };
  const real = localFiles(servers, 'share');
  /** Writing takes so long. */
  const slow = { ms: 0 };
  const files: ShareFiles = {
    ...real,
    replaceFile: async (path, content, c) => {
      now += slow.ms;
      await real.replaceFile(path, content, c);
    },
  };
  const parts = {
    ...{ self: { id: 'id-1', name: 'host-1' }, clock, times: LEASE_TIMES, log: silentLogger },
    end: new AbortController().signal,
  };
  const share = new LeaseShare(parts, 'share', files, (_, reason) => lost.push(reason));
  const pass = (ms: number): void => {
    now += ms;
  };
  const folder = join(servers.root('share'), '.drayage/leases');
  mkdirSync(folder, { recursive: true });
  return { share, lost, timers, pass, slow, folder };
};

t.test('a sign of life that comes through too late does not bring a lease back', async (t) => {
  const { share, lost, pass } = stopped(t);
  t.equal(await share.claim(VOLUME, 1, context()), true);
  pass(patienceMs + 1);
  await share.look(VOLUME, context());
  t.match(lost, ['its lease on the share could not be renewed for 30 s']);
  t.equal(share.held(VOLUME), undefined);
});

t.test('one that was just in time is good from when it was begun, however long it took', async (t) => {
  const { share, lost, pass, slow, timers } = stopped(t);
  await share.claim(VOLUME, 1, context());
  pass(patienceMs - 8_000);
  const began = patienceMs - 8_000 + 1_000;
  slow.ms = 8_000;
  await share.look(VOLUME, context());
  t.same(lost, []);
  t.equal(timers.at(-1), began + patienceMs);
});

t.test('who sees an old list of names and makes an epoch that is over has nothing', async (t) => {
  const { share, lost, folder } = stopped(t);
  writeFileSync(join(folder, 'data.9.json'), '{}');
  t.equal(await share.claim(VOLUME, 4, context()), false);
  t.equal(share.held(VOLUME), undefined);
  t.same(lost, [], 'it never had it');
  t.equal(await share.claim(VOLUME, 9, context()), false);
  t.equal(await share.claim(VOLUME, 10, context()), true);
  t.equal(share.held(VOLUME), 10);
});

t.test('a folder of leases that somebody removes is made again, and who had one has lost it', async (t) => {
  const { share, lost, folder } = stopped(t);
  await share.look(VOLUME, context());
  t.equal(await share.claim(VOLUME, 1, context()), true);
  rmSync(folder, { recursive: true });
  await t.rejects(share.look(VOLUME, context()), { code: 'SHARE_MISSING' });
  t.match(await share.look(VOLUME, context()), { epoch: 0 });
  t.match(lost, ['its lease was removed from the share']);
});
