import { PluginError } from '../../../../shared/errors.ts';
import type {
  Disk,
  DiskHost,
  DiskProvider,
  DiskRequest,
  DiskTags,
  HostFate,
  Snapshot,
} from '../../../../volume-plugin/block/provider.ts';
import { randomOf } from '../../../suites/random.ts';

/**
 * A provider of disks in zones as it may be at its worst, in memory and in virtual time: whoever reads sees any state of
 * the last `lagMs`; calls take their time, fail, or succeed without an answer; disks and snapshots fail after they were
 * granted; hosts crash, stop, freeze and end in the middle of a call. What it decides at once, as the clouds do: who has a
 * disk, what a token stands for, and that no disk is removed while somebody has it.
 */

const MIB = 2 ** 20;

export interface Weather {
  /** Longest time that a write may stay unseen, in milliseconds. */
  readonly lagMs: number;
  /** How likely a call fails, with or without its effect. */
  readonly fails: number;
  /** How likely a disk or a snapshot fails after it was granted. */
  readonly spoils: number;
  /** To a token that was used for a disk with other words it answers that disk, and does not refuse. */
  readonly answersOthers?: boolean;
}

/** A disk, and what was last written to it. */
interface Medium extends Disk {
  readonly data: number;
}

interface Copy extends Snapshot {
  readonly data: number;
}

interface State {
  readonly at: number;
  readonly disks: ReadonlyMap<string, Medium>;
  readonly snapshots: ReadonlyMap<string, Copy>;
}

/** A machine, and the process of ours on it. */
export class Machine {
  readonly self: DiskHost;
  fate: HostFate = 'alive';
  /** Counted up whenever the process ends: what an earlier one has begun goes nowhere. */
  life = 0;
  frozenUntil = 0;
  /** The disk that it has mounted: while it runs, nobody gets that out of it. */
  mounted: string | undefined;

  constructor(n: number, zone: string) {
    this.self = { id: `i-${n}`, name: `host-${n}`, zone };
  }
}

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** What waits for a process that has ended. */
const forever = (): Promise<never> => new Promise(() => undefined);

export class ZoneWorld {
  readonly random: () => number;
  readonly machines = new Map<string, Machine>();
  weather: Weather;
  /** Newest last; the first one is older than the lag. */
  #states: State[] = [{ at: 0, disks: new Map(), snapshots: new Map() }];
  readonly #tokens = new Map<string, { readonly request: string; readonly made: string }>();
  #count = 0;
  readonly #now: () => number;

  constructor(seed: number, weather: Weather, now: () => number) {
    this.random = randomOf(seed);
    this.weather = weather;
    this.#now = now;
  }

  machine(n: number, zone: string): Machine {
    const machine = new Machine(n, zone);
    this.machines.set(machine.self.id, machine);
    return machine;
  }

  /** As it is, whoever can see it. */
  get disks(): readonly Medium[] {
    return [...this.#truth.disks.values()];
  }

  get snapshots(): readonly Copy[] {
    return [...this.#truth.snapshots.values()];
  }

  /** A process of this machine writes to a disk. False: it has it no more. */
  write(machine: Machine, id: string, data: number): boolean {
    const disk = this.#truth.disks.get(id);
    if (disk === undefined || !this.hasDevice(machine, id)) return false;
    this.#set({ ...disk, data });
    return true;
  }

  /** Does the machine's kernel have the disk? What it shows is never late. */
  hasDevice(machine: Machine, id: string): boolean {
    const disk = this.#truth.disks.get(id);
    return disk?.holder?.id === machine.self.id && disk.state !== 'attaching';
  }

  /** The provider as the process that runs on the machine now has it. */
  provider(machine: Machine): DiskProvider {
    const { life } = machine;
    /** Work at the provider, begun by this process and answered to it, if there still is one. */
    const call = async <T>(work: () => T): Promise<T> => {
      await this.#runs(machine, life);
      await later(this.random() * 200);
      const failed = this.random() < this.weather.fails;
      const unanswered = this.random() < 0.5;
      if (failed && !unanswered) {
        await this.#runs(machine, life);
        throw unreachable();
      }
      let result: T;
      try {
        result = work();
      } catch (error) {
        await this.#runs(machine, life);
        throw error;
      }
      await later(this.random() * 200);
      await this.#runs(machine, life);
      if (failed) throw unreachable();
      return result;
    };
    const never = async (): Promise<never> => {
      throw new Error('not asked for here');
    };
    const isOf =
      (volume?: string) =>
      (one: { readonly volume: string }): boolean =>
        volume === undefined || one.volume === volume;
    return {
      name: 'zones',
      start: async () => machine.self,
      list: (_c, volume) => call(() => [...this.#seen().disks.values()].filter(isOf(volume))),
      describe: (id) => call(() => this.#seen().disks.get(id)),
      check: () => undefined,
      create: (request, token) => call(() => this.#create(request, token)),
      attach: (id) => call(() => this.#attach(machine, id)),
      detach: (id, host) => call(() => this.#detach(id, host)),
      device: never,
      fate: (host) => call(() => this.machines.get(host)?.fate ?? 'gone'),
      resize: never,
      tag: (id, tags) => call(() => this.#tag(id, tags)),
      remove: (id) => call(() => this.#remove(id)),
      snapshot: (id, tags, token) => call(() => this.#snapshot(id, tags, token)),
      snapshots: (_c, volume) => call(() => [...this.#seen().snapshots.values()].filter(isOf(volume))),
      describeSnapshot: (id) => call(() => this.#seen().snapshots.get(id)),
      removeSnapshot: (id) =>
        call(() => this.#change(({ snapshots }) => void (snapshots as Map<string, Copy>).delete(id))),
      search: never,
      adopt: never,
      release: never,
      close: async () => undefined,
    };
  }

  /** Resolves as long as this process lives, when its machine is not frozen. */
  async #runs(machine: Machine, life: number): Promise<void> {
    while (machine.frozenUntil > this.#now()) await later(machine.frozenUntil - this.#now());
    if (machine.life !== life) await forever();
  }

  get #truth(): State {
    return this.#states.at(-1) as State;
  }

  /** Any state that was the truth within the lag. */
  #seen(): State {
    const at = this.#now() - this.random() * this.weather.lagMs;
    return this.#states.findLast((state) => state.at <= at) ?? (this.#states[0] as State);
  }

  #change(change: (state: State) => void): void {
    const { disks, snapshots } = this.#truth;
    const next: State = { at: this.#now(), disks: new Map(disks), snapshots: new Map(snapshots) };
    change(next);
    const oldest = this.#now() - this.weather.lagMs - 1;
    const first = this.#states.findLastIndex((state) => state.at <= oldest);
    this.#states = [...this.#states.slice(Math.max(0, first)), next];
  }

  #set(disk: Medium): void {
    this.#change(({ disks }) => void (disks as Map<string, Medium>).set(disk.id, disk));
  }

  #setSnapshot(snapshot: Copy): void {
    this.#change(({ snapshots }) => void (snapshots as Map<string, Copy>).set(snapshot.id, snapshot));
  }

  #must(id: string): Medium {
    const disk = this.#truth.disks.get(id);
    if (disk === undefined) throw new PluginError('DISK_MISSING', { volume: 'data', disk: id });
    return disk;
  }

  /** What a token has made; the token of something that failed is burned. */
  #made(token: string, request: string, what: string): string | undefined {
    const known = this.#tokens.get(token);
    const there = this.#truth.disks.has(known?.made ?? '');
    if (known !== undefined && known.request !== request && !(this.weather.answersOthers && there)) {
      throw new PluginError('TOKEN_BURNED', { provider: 'zones', what });
    }
    return known?.made;
  }

  #create(request: DiskRequest, token: string): Disk {
    const { volume, size, zone = '', snapshot, tags } = request;
    const asked = JSON.stringify(request);
    const before = this.#made(token, asked, `a disk for volume ${volume}`);
    if (before !== undefined) {
      const disk = this.#truth.disks.get(before);
      if (disk === undefined) throw new PluginError('TOKEN_BURNED', { provider: 'zones', what: 'a disk' });
      return disk;
    }
    const from = snapshot === undefined ? undefined : this.#truth.snapshots.get(snapshot);
    if (snapshot !== undefined && from?.state !== 'ready') {
      throw new PluginError('BACKEND_REFUSED', { provider: 'zones', what: `snapshot ${snapshot}` });
    }
    const id = `disk-${++this.#count}`;
    this.#tokens.set(token, { request: asked, made: id });
    this.#set({
      ...{ id, volume, size, zone, tags, serial: id, state: 'creating', created: String(this.#now()) },
      ...(snapshot !== undefined && { fromSnapshot: snapshot }),
      data: from?.data ?? 0,
    });
    const spoilt = this.random() < this.weather.spoils;
    const vanishes = this.random() < 0.5;
    setTimeout(
      () => {
        if (spoilt && vanishes) this.#change(({ disks }) => void (disks as Map<string, Medium>).delete(id));
        else this.#set({ ...this.#must(id), state: spoilt ? 'failed' : 'available' });
      },
      500 + this.random() * 3_000,
    );
    return this.#must(id);
  }

  #attach(machine: Machine, id: string): void {
    const disk = this.#must(id);
    if (disk.zone !== machine.self.zone) {
      throw new PluginError('BACKEND_REFUSED', { provider: 'zones', what: 'to attach across zones' });
    }
    if (disk.holder !== undefined && disk.holder.id !== machine.self.id) {
      throw new PluginError('VOLUME_BUSY', { volume: disk.volume, holder: disk.holder.name });
    }
    if (disk.state !== 'available') return;
    const { id: host, name } = machine.self;
    this.#set({ ...disk, state: 'attaching', holder: { id: host, name } });
    setTimeout(
      () => {
        const now = this.#truth.disks.get(id);
        if (now?.state === 'attaching') this.#set({ ...now, state: 'attached' });
      },
      200 + this.random() * 2_000,
    );
  }

  #detach(id: string, host: string): void {
    const disk = this.#truth.disks.get(id);
    if (disk?.holder?.id !== host || disk.state === 'detaching') return;
    this.#set({ ...disk, state: 'detaching' });
    const machine = this.machines.get(host);
    const go = (): void => {
      if (machine?.mounted === id && machine.fate === 'alive') {
        setTimeout(go, 1_000);
        return;
      }
      const { holder: _, ...rest } = this.#must(id);
      this.#set({ ...rest, state: 'available' });
    };
    setTimeout(go, 200 + this.random() * 4_000);
  }

  #tag(id: string, tags: Readonly<Record<string, string | undefined>>): void {
    const disk = this.#must(id);
    const all = Object.entries({ ...disk.tags, ...tags });
    const kept = all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
    this.#set({ ...disk, tags: Object.fromEntries(kept) });
  }

  #remove(id: string): void {
    const disk = this.#truth.disks.get(id);
    if (disk === undefined) return;
    if (disk.holder !== undefined) {
      throw new PluginError('VOLUME_BUSY', { volume: disk.volume, holder: disk.holder.name });
    }
    this.#change(({ disks }) => void (disks as Map<string, Medium>).delete(id));
  }

  #snapshot(disk: string, tags: DiskTags, token: string): Snapshot {
    const before = this.#made(token, disk, `a snapshot of ${disk}`);
    if (before !== undefined) {
      const known = this.#truth.snapshots.get(before);
      if (known === undefined) throw new PluginError('TOKEN_BURNED', { provider: 'zones', what: 'a snapshot' });
      return known;
    }
    const { volume, size, data } = this.#must(disk);
    const id = `snap-${++this.#count}`;
    this.#tokens.set(token, { request: disk, made: id });
    const created = String(this.#now());
    this.#setSnapshot({ ...{ id, volume, disk, size, tags, created, data }, state: 'pending', progress: 0 });
    const [begun, takes] = [this.#now(), 2_000 + this.random() * 40_000];
    const spoilt = this.random() < this.weather.spoils;
    const go = (): void => {
      const now = this.#truth.snapshots.get(id);
      if (now === undefined) return;
      const progress = Math.min(100, Math.floor((100 * (this.#now() - begun)) / takes));
      const state = progress < 100 ? 'pending' : spoilt ? 'failed' : 'ready';
      this.#setSnapshot({ ...now, progress, state });
      if (state === 'pending') setTimeout(go, takes / 4);
    };
    setTimeout(go, takes / 4);
    return this.#truth.snapshots.get(id) as Copy;
  }
}

const unreachable = (): PluginError => new PluginError('BACKEND_UNREACHABLE', { provider: 'zones' });

/** A first generation, there already: formatted, with nothing written to it yet. */
export const firstDisk = (zone: string): DiskRequest => ({
  ...{ volume: 'data', size: 16 * MIB, zone },
  tags: { options: '{}', uuid: 'u-1', formatting: 'u-1', formatted: 'ext4' },
});
