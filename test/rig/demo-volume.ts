/** The part of the demonstration with a volume: written on one host, read on the other. */
import { readdirSync } from 'node:fs';
import { until } from './command.ts';
import { diskFolder, loopDevices, shareDisks } from './disks.ts';
import type { Host } from './host.ts';
import type { Rig } from './rig.ts';
import { expect, type Steps } from './steps.ts';

/** By this name `-d cloudvol` finds the plugin. */
const DRIVER = 'cloudvol';
const VOLUME = 'notes';
const IMAGE = 'drayage/box:1';
const CREATE = ['volume', 'create', '-d', DRIVER, '-o', 'size=64MiB', VOLUME];
const MOUNT = ['-v', `${VOLUME}:/notes`];
const TEXT = 'written on host1';

async function stateOf(host: Host): Promise<string> {
  return await host.dockerMust(['volume', 'inspect', '-f', '{{.Status.state}}', VOLUME]);
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

export async function showVolume(rig: Rig, plugin: string, steps: Steps): Promise<void> {
  const [one, two] = [rig.host(1), rig.host(2)];

  await steps.do(
    'Install the volume plugin on both hosts; disks are files in a folder that they share',
    async (tell) => {
      await shareDisks(one, two);
      await Promise.all(
        rig.hosts.map((host) => host.installPlugin(plugin, { name: DRIVER, env: { NODE_NAME: host.name } })),
      );
      tell(await one.dockerMust(['plugin', 'ls', '--format', '{{.Name}}  enabled: {{.Enabled}}']));
    },
  );

  await steps.do(`Create a volume and write to it on host1: docker ${CREATE.join(' ')}`, async (tell) => {
    await one.dockerMust(CREATE);
    await one.dockerMust(['run', '-d', '--name', 'writer', ...MOUNT, IMAGE]);
    const write = `echo "${TEXT}" > /notes/note && sync && df -h /notes | tail -n 1`;
    const mounted = await one.dockerMust(['exec', 'writer', 'sh', '-c', write]);
    tell(`A disk of its own, attached, with a new file system: ${mounted.replace(/ +/g, ' ')}`);
    tell(`host2 sees it, too: ${VOLUME} is ${await stateOf(two)}`);
  });

  await steps.do('Ask for it on host2 while host1 has it: a disk never has two writers', async (tell) => {
    const outcome = await two.docker(['run', '--rm', ...MOUNT, IMAGE, 'cat', '/notes/note']);
    const refusal = /VOLUME_BUSY: [^.]*\./.exec(outcome.stderr)?.[0];
    expect(outcome.code !== 0 && refusal !== undefined, `host2 was not refused: ${outcome.stderr}`);
    tell(refusal ?? '');
  });

  await steps.do('Stop the container on host1, and read the volume on host2', async (tell) => {
    const started = performance.now();
    await one.dockerMust(['stop', '-t', '0', 'writer']);
    const stopped = performance.now();
    // The disk leaves host1 behind the answer to `docker stop`: whoever asks a moment too early asks again.
    const read = await until('host2 to read the volume', async () => {
      const outcome = await two.docker(['run', '-d', '--name', 'reader', ...MOUNT, IMAGE]);
      if (outcome.code === 0) return await two.dockerMust(['exec', 'reader', 'cat', '/notes/note']);
      expect(outcome.stderr.includes('VOLUME_BUSY'), outcome.stderr);
      await two.dockerMust(['rm', '-f', 'reader']);
      return undefined;
    });
    expect(read === TEXT, `host2 read "${read}".`);
    tell(`host2 read "${read}"; ${VOLUME} is ${await stateOf(two)} there`);
    tell(
      `${seconds(stopped - started)} to stop the container, ${seconds(performance.now() - stopped)} until host2 had read it`,
    );
  });
}

/** Takes the volume away and looks for what it left. */
export async function clearVolume(rig: Rig, steps: Steps): Promise<void> {
  await steps.do(`Remove the volume: docker volume rm ${VOLUME}; and look what is left`, async (tell) => {
    const [one, two] = [rig.host(1), rig.host(2)];
    await Promise.all([one.dockerMust(['rm', '-f', 'writer']), two.dockerMust(['rm', '-f', 'reader'])]);
    await until('the disk to be detached', async () => (await loopDevices(diskFolder(one))).length === 0);
    await two.dockerMust(['volume', 'rm', VOLUME]);
    const known = await two.dockerMust(['volume', 'ls', '-q']);
    expect(!known.split('\n').includes(VOLUME), `host2 still has the volume ${VOLUME}.`);
    const files = readdirSync(diskFolder(one));
    expect(files.length === 0, `There are still ${files.join(', ')}.`);
    for (const host of rig.hosts) {
      const mounts = await host.must(['cat', '/proc/self/mountinfo']);
      expect(!mounts.includes(`/${VOLUME} `), `${host.name} still has a mount of ${VOLUME}.`);
    }
    tell('no disk, no device and no mount of it');
  });
}
