/**
 * What a rig leaves behind so that it can be found again: /run/drayage-rig/<id>.json, its folder and its cgroups.
 * Going down in order, `rig down`, and sweeping up after a rig that was killed are one and the same function here.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isGone, run, signal, startTime, until } from './command.ts';

const RECORDS = '/run/drayage-rig';
/** On a real disk: the engines' overlays cannot lie on an overlay. */
const FOLDERS = process.env.DRAYAGE_RIG_DIR ?? '/var/tmp/drayage-rig';
const CGROUPS = '/sys/fs/cgroup';

/** One running (or dead) rig. */
export interface RigRecord {
  readonly id: string;
  /** Owner process; the rig dies with it unless it is detached. */
  readonly pid: number;
  readonly born: string;
  readonly bootId: string;
  /** A cluster for a developer: it stays until `rig down`. */
  readonly detached: boolean;
  readonly folder: string;
  readonly engine: string;
  readonly hosts: readonly {
    readonly name: string;
    readonly init: number;
    readonly v4: string;
  }[];
  readonly router: { readonly init: number } | undefined;
  readonly world: { readonly init: number } | undefined;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** A record under a fresh id, on disk before anything is started for it. */
export function newRecord(options: { detached: boolean; engine: string }): RigRecord {
  mkdirSync(RECORDS, { recursive: true });
  for (;;) {
    const id = `dr${randomBytes(2).toString('hex')}`;
    const folder = path.join(FOLDERS, id);
    if (existsSync(path.join(RECORDS, `${id}.json`)) || existsSync(folder)) continue;
    const record: RigRecord = {
      id,
      pid: process.pid,
      born: startTime(process.pid) ?? '',
      bootId: bootId(),
      ...options,
      folder,
      hosts: [],
      router: undefined,
      world: undefined,
    };
    writeFileSync(path.join(RECORDS, `${id}.json`), JSON.stringify(record), { flag: 'wx' });
    mkdirSync(folder, { recursive: true });
    return record;
  }
}

/** Writes a record again. */
export function saveRecord(record: RigRecord): void {
  writeFileSync(path.join(RECORDS, `${record.id}.json`), JSON.stringify(record));
}

/** All rigs that this machine knows of, dead or alive. */
export function records(): RigRecord[] {
  if (!existsSync(RECORDS)) return [];
  return readdirSync(RECORDS)
    .filter((file) => file.endsWith('.json'))
    .flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(path.join(RECORDS, file), 'utf8')) as RigRecord];
      } catch (error) {
        // Gone meanwhile, or half-written by a rig that is starting (or was killed doing so): its owner sees to it.
        if (isGone(error) || error instanceof SyntaxError) return [];
        throw error;
      }
    });
}

/** True when the rig's owner is gone: its process ended, or for a detached rig the machine was rebooted. */
export function isDead(record: RigRecord): boolean {
  if (record.bootId !== bootId()) return true;
  return !record.detached && startTime(record.pid) !== record.born;
}

/** Pids of all processes that carry the rig's id in their environment. */
function processesOf(id: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`DRAYAGE_RIG=${id}`);
      } catch (error) {
        // Not even root may read some processes of others; the rig's own are readable.
        const { code } = error as NodeJS.ErrnoException;
        if (isGone(error) || code === 'EACCES' || code === 'EPERM') return false;
        throw error;
      }
    });
}

/** Takes away everything of a rig: processes (and with them namespaces, mounts and links), cgroups, files, and last its record. */
export async function takeDown(record: RigRecord): Promise<void> {
  await until(
    `the end of the processes of ${record.id}`,
    () => {
      const left = processesOf(record.id);
      for (const pid of left) signal(pid, 'SIGKILL');
      return left.length === 0;
    },
    { timeoutMs: 30_000, everyMs: 30 },
  );
  const plugins = pluginsOf(record);
  const isMine = (name: string): boolean => name.startsWith(`drayage-rig-${record.id}-`) || plugins.has(name);
  await until(`the end of the cgroups of ${record.id}`, () => removeCgroups(isMine), {
    timeoutMs: 15_000,
    everyMs: 50,
  });
  await releaseVolumes(record);
  // Mounts vanish with the last process, a moment after it.
  await until(
    `the removal of ${record.folder}`,
    () => {
      try {
        rmSync(record.folder, { recursive: true, force: true });
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
        throw error;
      }
    },
    { timeoutMs: 15_000, everyMs: 50 },
  );
  rmSync(path.join(RECORDS, `${record.id}.json`), { force: true });
}

/** The cgroup that the containers of one host are under. Rigs share none, so that one going down disturbs no other. */
export function cgroupOf(id: string, host: number): string {
  return `/drayage-rig-${id}-${host}`;
}

/** What a volume plugin that was killed leaves in the kernel: loop devices of its disks, folders that cannot be removed. */
async function releaseVolumes(record: RigRecord): Promise<void> {
  const hosts = existsSync(record.folder) ? foldersIn(record.folder) : [];
  const plugins = hosts.map((host) => path.join(host, 'docker/plugins')).filter((store) => existsSync(store));
  for (const plugin of plugins.flatMap((store) => foldersIn(store))) {
    const mounts = path.join(plugin, 'propagated-mount');
    const folders = existsSync(mounts) ? foldersIn(mounts) : [];
    // Where the file system has no such flag, nothing needs to be taken away.
    if (folders.length > 0) await run(['chattr', '-i', ...folders]);
  }
  for (const disks of hosts.map((host) => path.join(host, 'drayage/loop')).filter((folder) => existsSync(folder))) {
    // One that was mounted from another host is gone with its last process, in the middle of this.
    const images = await readdir(disks).catch(() => []);
    for (const file of images.filter((name) => name.endsWith('.img'))) {
      // By the file's inode: the path in the kernel's list is that of the plugin's own mounts.
      const { stdout } = await run(['losetup', '--noheadings', '--output', 'NAME', '-j', path.join(disks, file)]);
      for (const device of stdout.split('\n').filter((name) => name !== '')) await run(['losetup', '--detach', device]);
    }
  }
}

/** Ids of the managed plugins on the rig's hosts: the engine gives each a cgroup of that name, beside its cgroup parent. */
function pluginsOf(record: RigRecord): Set<string> {
  const folders = existsSync(record.folder) ? foldersIn(record.folder) : [];
  const stores = folders.map((host) => path.join(host, 'docker/plugins')).filter((store) => existsSync(store));
  const ids = stores.flatMap((store) => foldersIn(store).map((folder) => path.basename(folder)));
  return new Set(ids.filter((id) => /^[0-9a-f]{64}$/.test(id)));
}

/** Removes the rig's cgroups in every hierarchy (or in the one of cgroup v2); false while one is still busy. */
function removeCgroups(isMine: (name: string) => boolean): boolean {
  let done = true;
  for (const hierarchy of [CGROUPS, ...foldersIn(CGROUPS)]) {
    for (const folder of foldersIn(hierarchy)) {
      if (isMine(path.basename(folder))) done = removeTree(folder) && done;
    }
  }
  return done;
}

function foldersIn(parent: string): string[] {
  const entries = readdirSync(parent, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => path.join(parent, entry.name));
}

/** rmdir from the leaves up: files in a cgroup cannot be removed and need not be. */
function removeTree(folder: string): boolean {
  try {
    for (const child of foldersIn(folder)) removeTree(child);
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false;
    if (isGone(error)) return true;
    throw error;
  }
}

/** Takes down every rig whose owner is dead. Returns their ids. */
export async function sweep(): Promise<string[]> {
  const dead = records().filter(isDead);
  for (const record of dead) await takeDown(record);
  return dead.map((record) => record.id);
}
