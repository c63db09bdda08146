import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The kernel's table of mounts, as it is: reading it asks no file system anything, so it never hangs. proc(5). */

export interface MountEntry {
  readonly id: number;
  readonly parent: number;
  /** Device numbers of the file system: `259:4`. */
  readonly device: string;
  /** The part of the file system that is mounted: `/`, or the folder of a bind mount. */
  readonly root: string;
  /** Where it is mounted. */
  readonly target: string;
  /** Options of this mount: `rw`, `noatime`, … */
  readonly options: readonly string[];
  /** `ext4`, `nfs4`, `tmpfs`, … */
  readonly type: string;
  /** What it was mounted from: `/dev/nvme1n1`, `server:/export`. */
  readonly source: string;
  /** Options of the file system, the same for all its mounts: `rw`, `errors=remount-ro`, … */
  readonly superOptions: readonly string[];
}

/** Spaces, tabs, line ends and backslashes stand there as three octal digits. */
const plain = (text: string): string =>
  text.includes('\\')
    ? text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
    : text;

const parseLine = (line: string): MountEntry | undefined => {
  // Optional fields of any number end with a lone dash.
  const [before = '', after = ''] = line.split(' - ', 2);
  const [id, parent, device, root, target, options] = before.split(' ');
  const [type, source, superOptions] = after.split(' ');
  if (device === undefined || root === undefined || target === undefined || type === undefined) return undefined;
  return {
    id: Number(id),
    parent: Number(parent),
    device,
    root: plain(root),
    target: plain(target),
    options: options?.split(',') ?? [],
    type,
    source: plain(source ?? ''),
    superOptions: superOptions?.split(',') ?? [],
  };
};

export const parseMountTable = (text: string): readonly MountEntry[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : (parseLine(line) ?? [])));

/** Mounts in the namespace of a process, in the order of their making. `process`: its folder below /proc. */
export const readMountTable = (process: number | 'self' = 'self'): readonly MountEntry[] =>
  parseMountTable(readFileSync(`/proc/${process}/mountinfo`, 'utf8'));

/** What is seen at `target`: of several mounts on top of each other the last one. */
export const mountAt = (table: readonly MountEntry[], target: string): MountEntry | undefined =>
  table.findLast((entry) => entry.target === target);

/** A mount namespace with a process in it. */
export interface MountNamespace {
  /** Inode number, as `readlink /proc/<pid>/ns/mnt` shows it. */
  readonly id: string;
  /** One of its processes. */
  readonly process: number;
  readonly mounts: readonly MountEntry[];
}

const namespaceOf = (process: number | 'self'): string | undefined => {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${process}/ns/mnt`))?.[0];
  } catch {
    // It ended, or is a kernel's own.
    return undefined;
  }
};

/** The mount namespace of a process; undefined when it is gone or may not be seen. */
export const mountNamespace = (process: number | 'self'): string | undefined => namespaceOf(process);

/**
 * Every mount namespace that some visible process is in, with its mounts: in a plugin with the host's process ids, all
 * of the host. One file is read for each namespace.
 */
export function mountNamespaces(): readonly MountNamespace[] {
  const found = new Map<string, MountNamespace>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const process = Number(name);
    const id = namespaceOf(process);
    if (id === undefined || found.has(id)) continue;
    try {
      const mounts = readMountTable(process);
      // A process that is ending has an empty table; another one of its namespace will do.
      if (mounts.length > 0) found.set(id, { id, process, mounts });
    } catch {
      // It ended between the two looks.
    }
  }
  return [...found.values()];
}
