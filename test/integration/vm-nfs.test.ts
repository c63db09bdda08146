// @timeout 20m
// @machines
/**
 * Volumes on a share of the kernel's NFS server, in two hosts whose kernels are its clients: what hosts see of each other,
 * who may have what, and a network that is away for a minute under a writer. Three virtual machines for all cases.
 */
import t from 'tap';
import { until } from '../rig/command.ts';
import { IMAGE } from '../rig/vm/guest.ts';
import type { VirtualMachine } from '../rig/vm/machine.ts';
import { refused } from './support/refusal.ts';
import { runOn } from './support/vm-disks.ts';
import {
  BlockWriter,
  Box,
  call,
  callAll,
  create,
  createMust,
  exitOf,
  nfsRigFor,
  refusedSoon,
  SHARE,
  statusOf,
} from './support/vm-nfs.ts';

t.setTimeout(20 * 60_000);

const { vms, server, hosts } = await nfsRigFor(t, { hosts: 2 });
const [one, two] = hosts as [VirtualMachine, VirtualMachine];
const VERSIONS = ['4.2', '4.1', '4.0', '3'] as const;
/** On a busy machine, emulated ones need it. */
const PATIENTLY = { timeoutMs: 60_000, everyMs: 300 };
const MANY = Array.from({ length: 200 }, (_, i) => `many${String(i).padStart(3, '0')}`);
const volumeOf = (version: string): string => `with-${version}`;

for (const version of VERSIONS) await createMust(one, volumeOf(version), `nfsvers=${version}`);
const mounts = [...VERSIONS.map((version) => `${volumeOf(version)}:/${version}`), 'data:/data'];
const [boxOne, boxTwo] = await Promise.all([Box.start(one, 'box', mounts), Box.start(two, 'box', mounts)]);

t.test('what one host writes another one reads, with each version of NFS', async (t) => {
  for (const version of VERSIONS) {
    await boxOne.sh(`echo ${version} of one > /${version}/one; echo first > /${version}/both`);
    t.equal(await boxTwo.sh(`cat /${version}/one`), `${version} of one`);
    await boxTwo.sh(`echo second > /${version}/new && mv /${version}/new /${version}/both`);
    t.equal(await boxOne.sh(`cat /${version}/both`), 'second', 'also what was there before');
    t.match(
      await boxOne.sh(`grep " /${version} " /proc/mounts`),
      new RegExp(`[ ,]vers=${version.replace('.', '\\.')},`),
    );
    t.equal((await statusOf(one, volumeOf(version)))['version'], version, 'and docker volume inspect tells it');
  }
  const { version, server: health, share } = await statusOf(one, 'data');
  t.strictSame({ version, health, share }, { version: '4.2', health: 'answering', share: server.id(SHARE) });
});

t.test('volumes of a share have one mount of it: one connection for all that are mounted alike', async (t) => {
  const devices = await boxOne.sh(`stat -c %d /4.2 /data /4.1 /3`);
  const [explicit, usual, older, oldest] = devices.split('\n');
  t.not(usual, older);
  t.not(older, oldest);
  t.equal(explicit, usual, 'the version that is agreed on and the same one when it is asked for');
});

/** Waits until it is let go. */
const WAIT = `sh -c 'echo $$ > /tmp/waits; exec sleep 900'`;
const LET_GO = 'kill $(cat /tmp/waits)';

/** Takes the lock of a file in a container for good, and resolves when it has it. */
async function hold(box: Box, file: string): Promise<void> {
  // Whether it has it only its own host is asked: others remember for half a minute that a file was not there.
  await box.begin(`exec 9>> ${file}; flock 9 && touch ${file}.held; ${WAIT}`);
  await until('the lock', async () => (await box.exec(`test -e ${file}.held`)).code === 0, PATIENTLY);
}

const isFree = async (box: Box, file: string): Promise<boolean> =>
  (await box.exec(`exec 9>> ${file}; flock -n 9`, 90_000)).code === 0;

t.test('a lock of flock and one of fcntl keep other hosts out, and are free when their holder is gone', async (t) => {
  await hold(boxOne, '/data/lock');
  t.notOk(await isFree(boxTwo, '/data/lock'), 'flock');
  await boxOne.sh(LET_GO);
  await until('the lock to be free', () => isFree(boxTwo, '/data/lock'), PATIENTLY);

  const database = '/data/counter.db';
  await boxOne.sh(`sqlite3 ${database} 'CREATE TABLE c (n INTEGER); INSERT INTO c VALUES (0)'`);
  await boxOne.begin(`{ echo 'BEGIN EXCLUSIVE;'; ${WAIT}; } | sqlite3 ${database}`);
  await until(
    'the database to be locked by fcntl',
    async () => /database is locked/.test((await boxTwo.exec(`sqlite3 ${database} 'SELECT n FROM c'`)).stderr),
    PATIENTLY,
  );
  await boxOne.sh(LET_GO);
  const add = 'UPDATE c SET n = n + 1;'.repeat(15);
  const script = `sqlite3 -bail -cmd '.timeout 60000' ${database} '${add}'`;
  await Promise.all([boxOne, boxTwo].map((box) => box.sh(script, 120_000)));
  t.equal(await boxOne.sh(`sqlite3 ${database} 'SELECT n FROM c'`), '30', 'no change of either host is lost');
});

t.test('a lock outlives a restart of the server: nobody else gets it', async (t) => {
  await hold(boxOne, '/data/kept');
  await server.restart();
  t.notOk(await isFree(boxTwo, '/data/kept'));
  await boxOne.sh(LET_GO);
});

t.test('a container that moves to another host finds its data, owner and permissions', async (t) => {
  await createMust(one, 'moves', 'uid=1234', 'gid=4321', 'mode=0750');
  const first = await Box.start(one, 'mover', ['moves:/moved']);
  t.equal(await first.sh('stat -c "%u %g %a" /moved'), '1234 4321 750');
  await first.sh(`sqlite3 /moved/rows.db "CREATE TABLE rows (n); INSERT INTO rows VALUES ('from one')"`);
  await first.remove();
  const second = await Box.start(two, 'mover', ['moves:/moved']);
  t.equal(await second.sh('sqlite3 /moved/rows.db "SELECT n FROM rows"'), 'from one');
  t.equal(await second.sh('stat -c "%u %g %a" /moved'), '1234 4321 750');
  await second.remove();
});

t.test(
  'of two hosts that create a volume at once one makes it, and the other has the same or is refused',
  async (t) => {
    for (const round of [1, 2, 3]) {
      const same = { Name: `same${round}`, Opts: { mode: '0700' } };
      const joined = await Promise.all(hosts.map((host) => call(host, 'Create', same)));
      t.strictSame(
        joined.map(({ Err }) => Err ?? ''),
        ['', ''],
        'they asked for the same',
      );

      const asked = hosts.map((host, i) => call(host, 'Create', { Name: `other${round}`, Opts: { mode: `070${i}` } }));
      const errors = (await Promise.all(asked)).map(({ Err }) => String(Err ?? ''));
      t.equal(errors.filter((error) => error === '').length, 1, 'one of them has made it');
      t.match(
        errors.find((error) => error !== ''),
        /VOLUME_EXISTS: .*mode=/,
        'the other one is told how they differ',
      );
      const mode = await server.sh(`stat -c %a ${server.folder(SHARE)}/.drayage/volumes/other${round}`);
      t.equal(mode, errors[0] === '' ? '700' : '701', 'the folder is as the one wanted it that has made it');
    }
  },
);

t.test(
  'no byte is lost under a writer whose network is away for 60 s; others see a clear error meanwhile',
  async (t) => {
    await createMust(one, 'lone', 'access=single-writer');
    const lone = await Box.start(one, 'lone', ['lone:/db']);
    await lone.begin('while true; do echo more >> /db/log; sleep 0.1; done');
    const sizeOfLog = ['run', '--rm', '--network', 'host', '-v', 'lone:/db', IMAGE, 'stat', '-c', '%s', '/db/log'];
    refused(t, await two.docker(sizeOfLog), 'VOLUME_BUSY', 'lone');

    const writer = await BlockWriter.start(boxOne, '/data/blocks');
    await vms.rig.router.cutHost(1);
    const cut = performance.now();
    const seconds = (): number => Math.round((performance.now() - cut) / 1_000);
    const often = { timeoutMs: 150_000, everyMs: 2_000 };
    const ended = until('the lone writer to be ended', () => exitOf(one, 'lone'), often).then((code) => ({
      ...{ code, after: seconds() },
    }));
    const ownersLog = async (): Promise<string | undefined> => {
      const { code, stdout } = await two.docker(sizeOfLog);
      return code === 0 ? stdout : undefined;
    };
    const taken = until('the other host to have it', ownersLog, often).then((size) => ({ size, after: seconds() }));
    // Waited for below.
    for (const outcome of [ended, taken]) outcome.catch(() => undefined);

    await t.test('what keeps a share from being mounted is told in seconds', async (t) => {
      const attempts = [
        ['SHARE_UNRESOLVED', 'nfs.nowhere.test:/share', 'nfs.nowhere.test'],
        ['SHARE_UNREACHABLE', '10.250.0.77:/share', '10.250.0.77', '2049'],
        ['SHARE_MISSING', server.id('nowhere'), 'nowhere', server.folder(SHARE)],
      ] as const;
      for (const [code, share, ...words] of attempts) {
        refusedSoon(t, await create(two, 'failing', `share=${share}`), code, ...words);
      }
      await server.share('private', '', ['10.250.0.99']);
      const foreign = await create(two, 'failing', `share=${server.id('private')}`);
      refusedSoon(t, foreign, 'SHARE_REFUSED', '10.250.0.99', two.v4);
    });
    await t.test('a folder of the share that is there becomes a volume, and is left alone', async (t) => {
      const folder = `${server.folder(SHARE)}/legacy/photos`;
      await server.sh(`mkdir -p ${folder}; echo old > ${folder}/one.jpg`);
      await createMust(two, 'legacy', 'path=/legacy/photos', 'readonly=true');
      const box = await Box.start(two, 'legacy', ['legacy:/data']);
      t.equal(await box.sh('cat /data/one.jpg'), 'old');
      t.match((await box.exec('touch /data/x')).stderr, /Read-only file system/);
      await box.remove();
      await two.dockerMust(['volume', 'rm', 'legacy']);
      t.equal(await server.sh(`cat ${folder}/one.jpg`), 'old');
      refused(t, await create(two, 'nothing', 'path=/legacy/nothing'), 'SHARE_MISSING', '/legacy/nothing');
    });
    await t.test(
      'a share that can be read only, and one whose server squashes root, are refused with the reason',
      async (t) => {
        await server.share('archive', 'ro');
        await server.sh(`mkdir -p ${server.folder('archive')}/books; echo page > ${server.folder('archive')}/books/a`);
        refused(
          t,
          await create(two, 'archive', `share=${server.id('archive')}`),
          'SHARE_READONLY',
          server.id('archive'),
        );
        await createMust(two, 'books', `share=${server.id('archive')}`, 'path=/books', 'readonly=true');
        const box = await Box.start(two, 'books', ['books:/data']);
        t.equal(await box.sh('cat /data/a'), 'page', 'but what is on it can be a volume');
        await box.remove();
        await server.share('squash', 'root_squash');
        const squashed = await create(two, 'squashed', `share=${server.id('squash')}`);
        refused(t, squashed, 'SHARE_REFUSED', server.id('squash'), 'no_root_squash');
      },
    );
    await t.test('one host makes two hundred volumes on one share, several at a time', async (t) => {
      const bodies = MANY.map((name) => ({ Name: name, Opts: {} }));
      t.strictSame(await callAll(two, 'Create', bodies), []);
    });
    const silent = (): Promise<string> =>
      one.must(['sh', '-c', 'curl -s --unix-socket /run/docker.sock http://d/volumes/data'], { timeoutMs: 20_000 });
    const told = await until(
      'the status to tell it',
      async () => /not answering since [^"]+/.exec(await silent())?.[0],
      {
        timeoutMs: 50_000,
        everyMs: 1_000,
      },
    );
    t.comment(told);
    const lost = await ended;
    await t.test('the writer of a volume of one writer is ended before another host has the volume', async (t) => {
      t.equal(lost.code, '137', 'killed');
      t.ok(lost.after < 45, 'before whoever has watched it since could take it');
      t.comment(`ended after ${lost.after} s, taken over after ${(await taken).after} s`);
      t.ok(lost.after < (await taken).after);
    });
    await until('60 s', () => performance.now() - cut > 60_000, { timeoutMs: 70_000, everyMs: 100 });
    await vms.rig.router.healHost(1);
    await until('an answer', async () => (await one.docker(['version'])).code === 0, { everyMs: 200 });
    const count = await writer.count();
    await writer.untilBeyond(count + 3, 90_000);
    t.equal(await ownersLog(), (await taken).size, 'nothing of what the one that was ended wrote comes late');
    const { blocks, checksum } = await writer.stop();
    t.comment(`${blocks} blocks, ${count} of them when the network came back`);
    t.equal(await boxTwo.sh('sha256sum < /data/blocks'), checksum);
    await until(
      'the status to tell that it is over',
      async () => (await statusOf(one, 'data'))['server'] === 'answering',
      {
        timeoutMs: 30_000,
        everyMs: 500,
      },
    );
  },
);

t.test('a volume that is removed on one host is gone on all, and its data with it', async (t) => {
  await createMust(one, 'waste');
  await runOn(one, 'waste', 'touch /data/x');
  await two.dockerMust(['volume', 'rm', 'waste']);
  await one.admin('Drayage.Refresh', {});
  t.notMatch(await one.dockerMust(['volume', 'ls', '-q']), /^waste$/m);
  const left = async (): Promise<string> => {
    const root = `${server.folder(SHARE)}/.drayage`;
    return await server.sh(`find ${root}/volumes ${root}/trash -name '*waste*' 2> /dev/null || true`);
  };
  await until('the trash to be emptied', async () => (await left()) === '', { timeoutMs: 30_000, everyMs: 500 });
});

t.test('two hundred volumes on one share are known to every host, and each is a folder of its own', async (t) => {
  await one.admin('Drayage.Refresh', {});
  const seen = new Set((await one.dockerMust(['volume', 'ls', '-q'])).split('\n'));
  t.strictSame(
    MANY.filter((name) => !seen.has(name)),
    [],
    'the other host lists them all',
  );
  const some = MANY.filter((_, i) => i % 40 === 0);
  const mounted = some.map((name) => `${name}:/v/${name}`);
  const [writer, reader] = await Promise.all([Box.start(one, 'writer', mounted), Box.start(two, 'reader', mounted)]);
  await writer.sh('for f in /v/*; do basename $f > $f/name; done');
  t.equal(await reader.sh('cat /v/*/name'), some.join('\n'));
  t.equal(await reader.sh('stat -c %d /v/* | sort -u | wc -l'), '1', 'of one mount of the share');
});
