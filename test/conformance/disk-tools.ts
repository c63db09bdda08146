import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { type Context, newContext } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import type { Disk, DiskProvider, DiskState, Snapshot } from '../../volume-plugin/block/provider.ts';

/** How the suite gets at an implementation. All hosts see the same disks. */
export interface DiskWorld {
  /** A provider of host `n`, not started. Called again for the same `n`, it is that host after a restart. */
  host(n: number): DiskProvider;
  /** Bytes of a disk that is good enough. */
  readonly size: number;
  /** Bytes that a disk can become larger by, twice. */
  readonly growth: number;
  /** Disks appear as devices on this machine. */
  readonly devices: boolean;
  /** How often two hosts are after one disk at the same time. */
  readonly rounds: number;
  /** What one host does shows on the others after so many milliseconds at most; 0: at once. */
  readonly lateMs: number;
}

export const context = (ms = 30_000): Context => newContext(silentLogger, ms);

/** Makes a world without disks, gone when the test ends. */
export type MakeWorld = (t: Test) => Promise<DiskWorld>;

/** Looks until something shows, or would have shown by now, and answers the last look. */
export type Shown = <T>(look: () => Promise<T>, fits: (found: T) => boolean) => Promise<T>;

/** Two hosts of a new world, at work until the test ends. */
export const startWorld = async (t: Test, make: MakeWorld) => {
  const made = await make(t);
  const hosts = Array.from({ length: 2 }, (_, n) => made.host(n));
  const selves = [];
  for (const provider of hosts) {
    t.teardown(() => provider.close());
    selves.push(await provider.start(context()));
  }
  const [a, b] = hosts;
  if (a === undefined || b === undefined) throw new Error('a world without hosts');
  const create = (volume: string, provider = a) =>
    provider.create({ volume, size: made.size, tags: { options: '{}' } }, `token-${volume}`, context());
  const shown: Shown = async (look, fits) => {
    for (const end = performance.now() + made.lateMs; ; await pause(20)) {
      const isLast = performance.now() >= end;
      const found = await look();
      if (fits(found) || isLast) return found;
    }
  };
  /** So many disks as a host lists them. */
  const listed = (host: DiskProvider, count: number, volume?: string): Promise<readonly Disk[]> =>
    shown(
      () => host.list(context(), volume),
      ({ length }) => length === count,
    );
  const heldBy = (host: DiskProvider, id: string, holder: string | undefined): Promise<Disk | undefined> =>
    shown(
      () => host.describe(id, context()),
      (found) => found?.holder?.id === holder,
    );
  return { ...made, again: made.host, a, b, selves, create, shown, listed, heldBy };
};

/** Waits until the disk is in a state; providers take their time. */
export const settled = async (provider: DiskProvider, id: string, state: DiskState): Promise<Disk> => {
  for (const c = context(); !c.signal.aborted; await pause(20)) {
    const found = await provider.describe(id, c);
    if (found?.state === state) return found;
  }
  throw new Error(`${id} is not ${state}`);
};

/** Was on a host once: there are clouds that copy no disk that never was. */
export const used = async (host: DiskProvider, id: string, self: string | undefined): Promise<Disk> => {
  await settled(host, id, 'available');
  await host.attach(id, context());
  await settled(host, id, 'attached');
  await host.detach(id, self ?? '', context());
  return settled(host, id, 'available');
};

/** Waits until a snapshot is ready; providers take their time. */
export const ready = async (provider: DiskProvider, id: string): Promise<Snapshot> => {
  for (const c = context(); !c.signal.aborted; await pause(20)) {
    const found = await provider.describeSnapshot(id, c);
    if (found?.state === 'ready') return found;
    if (found?.state === 'failed') break;
  }
  throw new Error(`${id} is not ready`);
};

/** Waits until a disk is at least this large. */
export const grown = async (provider: DiskProvider, id: string, bytes: number): Promise<Disk> => {
  for (const c = context(); !c.signal.aborted; await pause(20)) {
    const found = await provider.describe(id, c);
    if (found !== undefined && found.size >= bytes) return found;
  }
  throw new Error(`${id} has not grown to ${bytes} bytes`);
};
