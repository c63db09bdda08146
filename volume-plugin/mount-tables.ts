import { readFileSync } from 'node:fs';
import { mountAt, mountNamespace, mountNamespaces, readMountTable } from '../shared/kernel/mount-table.ts';
import { isUse } from '../shared/kernel/mount-users.ts';
import type { MountTables } from './parts.ts';

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
    return mountNamespaces()
      .filter(({ id, mounts }) => id !== own && mounts.some((mount) => isUse({ device, within }, mount)))
      .map(({ process: id }) => `process ${id} (${nameOf(id)})`);
  }
}
