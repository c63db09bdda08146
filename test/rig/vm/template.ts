/**
 * A guest that has booted once: Debian with a running Docker engine that has the plugin, as its memory and its disks
 * were at that moment. Guests started from it are there in a second or two, and share its memory until they change it.
 * It is made anew (about 40 s) when the plugin or the base is another.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ended, must, until } from '../command.ts';
import { Machine } from '../machine.ts';
import { CACHE, ensureEngine, ensureTools, iptablesFolder, type Tools, withLock } from '../packages.ts';
import { ensureSeed, fingerprint } from '../seed.ts';
import { keepNewest } from '../sweep.ts';
import { GuestAgent } from './agent.ts';
import { ensureBase, type GuestBase } from './base.ts';
import { IMAGE } from './guest.ts';
import { agentSocket, monitorSocket, qemuArguments } from './qemu.ts';
import { Qmp } from './qmp.ts';

/** Name of the plugin in guests: by it `-d cloudvol` finds it. */
export const GUEST_PLUGIN = 'cloudvol';
/** Each is about 700 MB. */
const KEPT = 3;
/** To be changed with what is done here. */
const REVISION = 2;
const PLUGINS_BYTES = '1G';

export interface Template {
  readonly base: GuestBase;
  readonly tools: Tools;
  /** The machine's memory, and the state of its devices. */
  readonly memory: string;
  readonly state: string;
  /** qcow2 images that guests have overlays of. */
  readonly root: string;
  readonly plugins: string;
}

/** The template with a built plugin's folder, made when it is missing. */
export async function ensureTemplate(plugin: string, say: (line: string) => void): Promise<Template> {
  const tools = await ensureTools(say);
  const base = await ensureBase(tools, say);
  const id = `vm-${REVISION}-${base.made}-${await fingerprint(plugin)}`;
  const folder = path.join(CACHE, 'vms', id);
  const template = partsIn(folder, base, tools);
  if (existsSync(folder)) return template;
  return await withLock(id, async () => {
    if (existsSync(folder)) return template;
    const started = Date.now();
    say('booting a virtual machine, once for this build of the plugin');
    const files = await ensureEngine('20', tools, say);
    const iptables = await iptablesFolder('nft');
    const seed = await ensureSeed({ folder: plugin, files, iptables, tools, say, name: GUEST_PLUGIN });
    const making = path.join(CACHE, 'making', id);
    await rm(making, { recursive: true, force: true });
    await mkdir(making, { recursive: true });
    await bootAndSave(making, partsIn(making, base, tools), seed, id);
    await mkdir(path.dirname(folder), { recursive: true });
    await keepNewest(path.dirname(folder), KEPT - 1);
    await rename(making, folder);
    // The overlay names its base by path; the base does not move, the overlays of guests name this one.
    say(`the virtual machine is ready to be copied after ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return template;
  });
}

function partsIn(folder: string, base: GuestBase, tools: Tools): Template {
  const at = (name: string): string => path.join(folder, name);
  return {
    base,
    tools,
    memory: at('memory'),
    state: at('state'),
    root: at('root.qcow2'),
    plugins: at('plugins.qcow2'),
  };
}

async function bootAndSave(folder: string, parts: Template, seed: string, id: string): Promise<void> {
  const { base, tools } = parts;
  const raw = path.join(folder, 'plugins.raw');
  await must(['mkfs.ext4', '-q', '-O', '^has_journal', '-E', 'nodiscard', '-d', seed, raw, PLUGINS_BYTES]);
  await must(['qemu-img', 'convert', '-O', 'qcow2', raw, parts.plugins]);
  await rm(raw);
  await must(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base.root, parts.root]);
  const machine = await Machine.start({ name: 'vm', folder, tools, rig: id, detached: false, disks: false });
  try {
    const memory = { file: parts.memory, use: 'make' } as const;
    const { root, plugins } = parts;
    const argv = qemuArguments({ base, folder, root, plugins, memory, tap: 'tap0' });
    const pid = await machine.spawn(argv, 'qemu.log');
    const qmp = await Qmp.open(monitorSocket(folder, 'test'));
    const agent = new GuestAgent(agentSocket(folder, 'test'));
    await until(
      `the guest agent of the first boot (see ${folder}/console.log)`,
      async () => {
        if (!qmp.alive) throw new Error(`the virtual machine ended while it booted; see ${folder}/console.log`);
        return await agent.answers(2_000);
      },
      { timeoutMs: 120_000, everyMs: 100 },
    );
    await prepare(agent);
    await qmp.ask('stop');
    await save(qmp, parts.state);
    await qmp.ask('quit');
    await ended(pid, 20_000);
  } finally {
    await machine.powerOff();
  }
}

/** Has the engine import the image, and what guests will run read once: it is then in the memory of every guest. */
async function prepare(agent: GuestAgent): Promise<void> {
  const engine = ['curl', '-fsS', '--unix-socket', '/run/docker.sock'];
  await until(
    'the engine of the first boot',
    async () => (await agent.exec([...engine, 'http://d/_ping'])).code === 0,
    {
      timeoutMs: 120_000,
      everyMs: 200,
    },
  );
  const load = `docker import --change 'ENV PATH=/bin:/usr/bin' /image.tar ${IMAGE}`;
  const once = `docker run --rm --network host ${IMAGE} sqlite3 :memory: "select 1"`;
  // The plugin itself does not run here: the kernel draws its boot id when first asked, and each guest is to have its own.
  const rootfs = '/var/lib/docker/plugins/*/rootfs';
  const warm = `cat ${rootfs}/usr/lib/drayage/*.cjs > /dev/null && chroot ${rootfs} /usr/bin/node -e 0`;
  await agent.must(['sh', '-c', `${load} && ${once} && ${warm} && rm /image.tar && sync`], { timeoutMs: 120_000 });
}

/** Writes the machine's state without its memory, which is in a file already. */
async function save(qmp: Qmp, file: string): Promise<void> {
  await ignoreSharedMemory(qmp);
  await qmp.ask('migrate', { uri: `exec:cat > '${file}'` });
  await untilMigrated(qmp);
}

/** Capability `x-ignore-shared`: the memory file takes no part in a migration. */
export async function ignoreSharedMemory(qmp: Qmp): Promise<void> {
  const capabilities = [{ capability: 'x-ignore-shared', state: true }];
  await qmp.ask('migrate-set-capabilities', { capabilities });
}

/** Resolves when the state is written or read. */
export async function untilMigrated(qmp: Qmp): Promise<void> {
  await until(
    'the state of a virtual machine',
    async () => {
      const info = await qmp.ask<{ status?: string; 'error-desc'?: string }>('query-migrate');
      if (info.status === 'failed')
        throw new Error(`its state is unusable: ${info['error-desc'] ?? 'no reason given'}`);
      return info.status === 'completed';
    },
    { timeoutMs: 60_000 },
  );
}
