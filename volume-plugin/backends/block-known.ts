import { currentDisk, currentDisks, isPristine } from '../block/generations.ts';
import { whyLost } from '../block/holding.ts';
import { leaversOf } from '../block/leaving.ts';
import type { Disk, DiskHost } from '../block/provider.ts';
import type { ListedVolume, Volume } from './backend.ts';
import { optionsOf } from './block-options.ts';
import type { Usage } from './block-usage.ts';

/** What is known here of the volumes' disks, for answers that do not wait for the provider. */
export class KnownDisks {
  readonly #provider: string;
  readonly #settleMs: number;
  /** The disk that each volume is on. */
  readonly #current = new Map<string, Disk>();
  /** All disks of each volume as they were last listed, and when that was begun. */
  #seen = new Map<string, { readonly at: number; readonly disks: readonly Disk[] }>();

  constructor(provider: string, settleMs: number) {
    this.#provider = provider;
    this.#settleMs = settleMs;
  }

  /** All disks of the cluster were listed, and nothing else is there; `at`: epoch milliseconds before it was asked. */
  listed(disks: readonly Disk[], at: number): readonly ListedVolume[] {
    const volumes = Map.groupBy(disks, ({ volume }) => volume);
    this.#seen = new Map([...volumes].map(([name, of]) => [name, { at, disks: of }]));
    this.#current.clear();
    return currentDisks(disks).map((disk) => this.learn(disk));
  }

  /** All disks of one volume were listed. Undefined: there is no such volume. */
  found(volume: string, disks: readonly Disk[], at: number): ListedVolume | undefined {
    this.#seen.set(volume, { at, disks });
    const disk = currentDisk(disks);
    return disk && this.learn(disk);
  }

  /** A volume is on this disk, which is as given. */
  learn(disk: Disk): ListedVolume {
    this.#current.set(disk.volume, disk);
    const { holder, state } = disk;
    const [leaver] = leaversOf(disk.tags);
    const free = leaver === undefined ? state : `moving to zone ${leaver.zone} by ${leaver.name}`;
    return {
      name: disk.volume,
      options: optionsOf(disk),
      handle: { disk: disk.id },
      created: disk.created,
      ...(isPristine(disk) && disk.tags.uuid !== undefined && { origin: disk.tags.uuid }),
      whereabouts: holder === undefined ? free : `${state === 'attached' ? 'in use' : state} on ${holder.name}`,
    };
  }

  forget(volume: string): void {
    this.#current.delete(volume);
  }

  /** See Backend.lost. */
  lost(
    volume: string,
    self: DiskHost,
    { since, ...mounted }: { readonly epoch?: number; readonly since: number },
  ): string | undefined {
    const seen = this.#seen.get(volume);
    // What was seen soon after the mount may be from before it: who is cut off by mistake loses what is not written out.
    if (seen === undefined || seen.at <= since + this.#settleMs) return undefined;
    const mine = seen.disks.find(({ holder }) => holder?.id === self.id) ?? currentDisk(seen.disks);
    return mine && whyLost(self, mounted, mine, seen.disks);
  }

  /** See Backend.status. `moving`: how far it is on its way to this host's zone. */
  status(
    { name, options: { from }, handle }: Volume,
    usage: Usage | undefined,
    moving: string | undefined,
  ): Readonly<Record<string, string | number | boolean>> {
    const disk = this.#current.get(name);
    const tags = disk?.tags ?? {};
    return {
      provider: this.#provider,
      disk: handle.disk ?? '',
      ...(disk !== undefined && { size: disk.size }),
      ...(usage !== undefined && { used: usage.used, free: usage.free }),
      fs: tags.formatted ?? 'not formatted yet',
      ...(disk?.holder !== undefined && { host: disk.holder.name }),
      ...(disk?.zone !== undefined && { zone: disk.zone }),
      ...(from !== undefined && { from }),
      ...(disk?.fromSnapshot !== undefined && { fromSnapshot: disk.fromSnapshot }),
      ...(tags.imported !== undefined && { imported: tags.imported }),
      ...(tags.generation !== undefined && { generation: tags.generation }),
      ...(moving !== undefined && { moving }),
      onRemove: tags['on-remove'] ?? 'delete',
    };
  }
}
