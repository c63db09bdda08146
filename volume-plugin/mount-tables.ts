import { readFileSync } from 'node:fs';
import { mountAt, mountNamespace, mountNamespaces, readMountTable } from '../shared/kernel/mount-table.ts';
import type { MountTables } from './parts.ts';

/**
 * Where the engine sees a plugin's propagated mount, and whoever has the host's folders mounted in a container of theirs:
 * they look at the host and use no volume.
 */
const ENGINES_OWN = '/propagated-mount/';

const nameOf = (process: number): string => {
  try {
    return readFileSync(`/proc/${process}/comm`, 'utf8').trim();
  } catch {
    // It ended.
    return 'ended';
  }
};

/** The kernel's, with the host's processes to be seen in /proc. */
export class LinuxMountTables implements MountTables {
  at(target: string): { readonly source: string; readonly device: string } | undefined {
    return mountAt(readMountTable(), target);
  }

  users(device: string, within?: string): readonly string[] {
    // Process 1 is this one where the host's cannot be seen.
    if (process.pid === 1) throw new Error("the host's processes are not visible (pidhost)");
    const own = mountNamespace('self');
    const isIn = (source: string): boolean =>
      within === undefined || source === within || source.startsWith(within.replace(/\/?$/, '/'));
    return mountNamespaces()
      .filter(({ id }) => id !== own)
      .filter(({ mounts }) =>
        mounts.some((mount) => mount.device === device && isIn(mount.source) && !mount.target.includes(ENGINES_OWN)),
      )
      .map(({ process: id }) => `process ${id} (${nameOf(id)})`);
  }
}
