import { readdirSync } from 'node:fs';
import { type Context, sleep, throwIfDone } from '../context.ts';
import { codeOf } from '../error-code.ts';
import { type MountEntry, mountNamespace, mountNamespaces } from './mount-table.ts';

/**
 * Where the engine sees a plugin's propagated mount, and whoever has the host's folders mounted in a container of theirs:
 * they look at the host and use no volume.
 */
const ENGINES_OWN = '/propagated-mount/';

/** A file system, or the part of one that was mounted from a source. */
export interface MountedPart {
  /** Device numbers: `259:4`. */
  readonly device: string;
  /** Only what was mounted from here, or from below it. */
  readonly within?: string | undefined;
}

/** Is it somebody's mount of that, other than the engine's own? */
export const isUse = ({ device, within }: MountedPart, mount: MountEntry): boolean => {
  if (mount.device !== device || mount.target.includes(ENGINES_OWN)) return false;
  return within === undefined || mount.source === within || mount.source.startsWith(within.replace(/\/?$/, '/'));
};

/** Between two looks whether somebody has it mounted again, or still. */
const LOOK_MS = 200;
/** So many looks in a row must find nobody: a container that was being started shows a moment later. */
const LOOKS = 5;

/** Processes in a mount namespace, as far as they can be seen. */
const processesIn = (namespace: string): readonly number[] =>
  readdirSync('/proc').flatMap((name) =>
    /^\d+$/.test(name) && mountNamespace(Number(name)) === namespace ? [Number(name)] : [],
  );

const end = (process_: number): void => {
  try {
    process.kill(process_, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
};

/**
 * Kills every process in a mount namespace that uses this, but for the namespaces of this process and of the host: those
 * of containers are left. Goes on until nobody does any more; answers how many processes that were. Errors: the context's,
 * EPERM when one may not be killed, and when the host's processes cannot be seen.
 */
export const killMountUsers = async (part: MountedPart, c: Context): Promise<number> => {
  if (process.pid === 1) throw new Error("the host's processes are not visible (pidhost)");
  const spared = new Set([mountNamespace('self'), mountNamespace(1)]);
  const killed = new Set<number>();
  for (let quiet = 0; quiet < LOOKS; ) {
    throwIfDone(c);
    const found = mountNamespaces().filter(
      ({ id, mounts }) => !spared.has(id) && mounts.some((one) => isUse(part, one)),
    );
    quiet = found.length === 0 ? quiet + 1 : 0;
    for (const { id } of found) {
      for (const one of processesIn(id)) {
        end(one);
        killed.add(one);
      }
    }
    await sleep(LOOK_MS, c);
  }
  return killed.size;
};
