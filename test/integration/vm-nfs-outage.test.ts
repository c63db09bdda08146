// @timeout 10m
// @machines
/**
 * An NFS server that stands still, dies, comes back, or takes its export away under running containers: nothing of the
 * host waits for it that is not on it, and no byte is lost. One host, real kernels; a second machine is the server.
 */
import t from 'tap';
import type { Outcome } from '../rig/command.ts';
import { until } from '../rig/command.ts';
import { IMAGE } from '../rig/vm/guest.ts';
import type { VirtualMachine } from '../rig/vm/machine.ts';
import { BlockWriter, Box, create, createMust, nfsRigFor, refusedSoon, SHARE, statusOf } from './support/vm-nfs.ts';

t.setTimeout(10 * 60_000);

const { server, hosts } = await nfsRigFor(t, { hosts: 1, versions: '-N 4.2 -N 4.0' });
const [host] = hosts as [VirtualMachine];
/** What answers within a second or two when nothing is wrong. */
const SOON_MS = 8_000;

const box = await Box.start(host, 'box', ['data:/data']);
const other = await Box.start(host, 'other', ['aside:/data']);
await createMust(host, 'local', 'type=block', 'size=64m');

/** Asserts that it succeeds, and soon. */
const soon = async (t: Tap, what: string, work: Promise<Outcome>): Promise<void> => {
  const { code, ms, stderr } = await work;
  t.equal(code, 0, `${what}: ${stderr.trim()}`);
  t.ok(ms < SOON_MS, `${what} takes ${Math.round(ms)} ms`);
};
type Tap = Pick<typeof t, 'equal' | 'ok'>;

const untilServer = async (wanted: RegExp): Promise<string> =>
  await until(
    `docker volume inspect to tell ${wanted}`,
    async () => wanted.exec(String((await statusOf(host, 'data'))['server']))?.[0],
    { timeoutMs: 60_000, everyMs: 500 },
  );

/** Names in the folder of volumes, on the server's own disk. */
const onServer = (volume: string, script: string): Promise<string> =>
  server.sh(`cd ${server.folder(SHARE)}/.drayage/volumes/${volume} && ${script}`);

t.test('the best version that both sides speak is agreed on; another one is refused', async (t) => {
  const { version, mountOptions } = await statusOf(host, 'data');
  t.equal(version, '4.1');
  t.match(mountOptions, /^rw,vers=4\.1,.*hard/);
  refusedSoon(t, await create(host, 'failing', 'nfsvers=4.2'), 'SHARE_VERSION', server.id(SHARE), '4.1', '4.2');
});

t.test('a server that stands still holds up nothing else, is told of, and its return is noticed', async (t) => {
  const writer = await BlockWriter.start(box, '/data/blocks');
  await server.freeze();
  t.match(await untilServer(/not answering since .*/), /since 20\d\d-/);

  await soon(t, 'docker ps', host.docker(['ps']));
  await soon(t, 'docker volume ls', host.docker(['volume', 'ls']));
  await soon(t, 'docker volume inspect', host.docker(['volume', 'inspect', 'data']));
  const run = ['run', '--rm', '--network', 'host', '-v', 'local:/data', IMAGE, 'sh', '-c', 'echo x > /data/x'];
  t.equal((await host.docker(run)).code, 0, 'a volume on something else is mounted, written to and unmounted');
  // Nobody can be asked whether it is a volume: it is answered as one, and cannot be used.
  await soon(t, 'docker volume create', create(host, 'late'));
  const started = await host.docker(['run', '--name', 'early', '--network', 'host', '-v', 'data:/data', IMAGE, 'true']);
  t.match(started.stderr, /SHARE_SILENT: .*does not answer/);
  t.ok(started.ms < SOON_MS, `docker run fails after ${Math.round(started.ms)} ms`);
  await host.docker(['rm', '-f', 'early']);

  await host.killPlugin();
  await until('the plugin to answer', async () => (await host.docker(['volume', 'ls'])).code === 0);
  await soon(t, 'docker volume ls of a plugin that has started meanwhile', host.docker(['volume', 'ls']));
  t.match(
    (await host.dockerMust(['volume', 'ls', '-q'])).split('\n'),
    ['aside', 'data', 'local'],
    'no volume is forgotten',
  );
  await untilServer(/not answering since .*/);
  t.equal((await host.docker(run)).code, 0, 'it mounts other volumes');

  await soon(t, 'docker rm -f of a container of the share', host.docker(['rm', '-f', other.name]));

  await server.thaw();
  await untilServer(/^answering/);
  const count = await writer.count();
  await writer.untilBeyond(count + 3, 90_000);
  const { checksum } = await writer.stop();
  t.equal(await onServer('data', 'sha256sum < blocks'), checksum);
  t.match(await host.pluginLog(), /answers again/);
  await host.dockerMust(['volume', 'rm', 'late']);
  await createMust(host, 'late');
});

t.test('a server whose power is cut comes back with every confirmed byte, and writers go on', async (t) => {
  const again = await Box.start(host, 'writer', ['data:/data']);
  const writer = await BlockWriter.start(again, '/data/survivors');
  await server.kill9();
  const before = await writer.count();
  await server.replace();
  await writer.untilBeyond(before + 3, 120_000);
  const { blocks, checksum } = await writer.stop();
  t.comment(`${before} blocks were confirmed before the power cut, ${blocks} altogether`);
  t.equal(await onServer('data', 'sha256sum < survivors'), checksum);
  await again.remove();
});

t.test(
  'an export that is taken away: errors for containers, a word for people, and it can be given back',
  async (t) => {
    // A host that nothing is exported to at all would wait for that to change, as for a server that is silent.
    await server.share('spare');
    await server.unshare(SHARE);
    await until('an error in the container', async () => {
      const { code, stderr } = await box.exec('echo x > /data/x');
      return code !== 0 && /error|denied|permitted|Stale/i.test(stderr);
    });
    const started = await host.docker(['run', '--rm', '--network', 'host', '-v', 'aside:/data', IMAGE, 'true']);
    t.match(started.stderr, /SHARE_(MISSING|REFUSED|SILENT)/);
    await soon(t, 'docker ps', host.docker(['ps']));
    await server.share(SHARE);
    await until(
      'a container to start again',
      async () => {
        const outcome = await host.docker(['run', '--rm', '--network', 'host', '-v', 'aside:/data', IMAGE, 'true']);
        return outcome.code === 0;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
  },
);

t.test('an engine with containers on a dead server stops', async (t) => {
  await server.kill9();
  const stopping = performance.now();
  await host.stopEngine();
  const ms = Math.round(performance.now() - stopping);
  t.ok(ms < 60_000, `after ${ms} ms`);
});
