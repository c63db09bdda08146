import { mountNamespace, mountNamespaces, readMountTable } from '../../shared/kernel/mount-table.ts';
import { sourceOf } from './object-engines.ts';

/** A mount whose engine is gone for good: whoever has it can only be started anew. */
interface DeadMount {
  readonly volume: string;
  /** Device numbers: `0:61`. */
  readonly device: string;
  /** ISO time when it was found. */
  readonly since: string;
}

/** Looking at every mount namespace of a host costs some milliseconds. */
const LOOK_MS = 3_000;

/** Mounts of earlier lives of the plugin that containers still have, for Status. */
export class DeadMounts {
  #all: readonly DeadMount[] = [];
  #looked = 0;

  add(volume: string, device: string): void {
    this.#all = [...this.#all, { volume, device, since: new Date().toISOString() }];
  }

  /** In words; undefined: no container has one. */
  of(volume: string): string | undefined {
    if (this.#all.length === 0) return undefined;
    if (Date.now() - this.#looked > LOOK_MS) this.#look();
    const found = this.#all.find((one) => one.volume === volume);
    if (found === undefined) return undefined;
    return `containers that were started before ${found.since} have a mount whose file system has ended: restart them`;
  }

  #look(): void {
    this.#looked = Date.now();
    const own = mountNamespace('self');
    const others = mountNamespaces().filter(({ id }) => id !== own);
    // What the plugin sees of that number is another mount, which the kernel has given it since: dead ones were taken away.
    const living = new Set(readMountTable().map(({ device }) => device));
    const isThere = ({ volume, device }: DeadMount): boolean =>
      !living.has(device) &&
      others.some(({ mounts }) => mounts.some((one) => one.device === device && one.source === sourceOf(volume)));
    this.#all = this.#all.filter(isThere);
  }
}
