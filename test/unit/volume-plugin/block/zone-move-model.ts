import { type Context, newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ZoneMove } from '../../../../volume-plugin/block/zone-move.ts';
import { randomOf } from '../../../suites/random.ts';
import { holdDisk } from './hold-disk.ts';
import { VirtualTime } from './virtual-time.ts';
import { firstDisk, type Machine, type Weather, ZoneWorld } from './zone-world.ts';

/**
 * Hosts of several zones that want one volume, again and again, each in its own time, while what can go wrong does. Checked
 * at each use: nobody else has it mounted, and what is on it is what was last acknowledged to anybody.
 */

export interface Hosts {
  readonly zones: readonly string[];
  readonly weather: Weather;
  readonly settleMs: number;
  /** How long they go on, in virtual milliseconds. */
  readonly ms: number;
  /** How likely a machine is stopped, or its process killed, or it freezes, in each ten seconds. */
  readonly accidents: number;
}

export interface Outcome {
  /** How often the volume was mounted, and how often it had come from another zone. */
  readonly mounts: number;
  readonly moves: number;
  readonly accidents: number;
  /** What must never be. */
  readonly broken: readonly string[];
  /** Zones in which the volume could be mounted when everything worked again. */
  readonly reached: readonly string[];
  /** Codes of errors, and how often each. */
  readonly errors: Readonly<Record<string, number>>;
  /** Disks and snapshots at the end. */
  readonly disks: readonly string[];
  readonly snapshots: number;
}

const USE_MS = 300_000;

export const play = async (seed: number, hosts: Hosts): Promise<Outcome> => {
  const time = new VirtualTime();
  time.install(randomOf(seed + 1));
  try {
    return await new Game(seed, hosts, time).play();
  } finally {
    time.restore();
  }
};

class Game {
  readonly #world: ZoneWorld;
  readonly #time: VirtualTime;
  readonly #hosts: Hosts;
  readonly #broken: string[] = [];
  readonly #errors: Record<string, number> = {};
  readonly #machines: Machine[];
  #acknowledged = 0;
  #counter = 0;
  #mounts = 0;
  #moves = 0;
  #accidents = 0;
  #lastDisk = '';

  constructor(seed: number, hosts: Hosts, time: VirtualTime) {
    this.#world = new ZoneWorld(seed, hosts.weather, () => time.now);
    this.#time = time;
    this.#hosts = hosts;
    this.#machines = hosts.zones.map((zone, n) => this.#world.machine(n, zone));
  }

  async play(): Promise<Outcome> {
    const [first] = this.#machines;
    if (first === undefined) throw new Error('no hosts');
    const { weather } = this.#world;
    this.#world.weather = { lagMs: 0, fails: 0, spoils: 0 };
    const made = this.#world.provider(first).create(firstDisk(first.self.zone ?? ''), 'first', this.#context());
    made.catch((error: unknown) => this.#broken.push(String(error)));
    await this.#time.run(() => this.#world.disks.some(({ state }) => state === 'available'));
    this.#world.weather = weather;
    for (const machine of this.#machines) this.#boot(machine);
    this.#cause();
    await this.#time.run(() => this.#time.now > this.#hosts.ms);
    const reached = await this.#afterwards();
    return {
      ...{ mounts: this.#mounts, moves: this.#moves, accidents: this.#accidents, broken: this.#broken, reached },
      errors: this.#errors,
      disks: this.#world.disks.map(({ id, state, tags }) => `${id} ${state} ${JSON.stringify(tags)}`),
      snapshots: this.#world.snapshots.length,
    };
  }

  /** Everything works again: one zone after the other must get the volume. */
  async #afterwards(): Promise<readonly string[]> {
    this.#world.weather = { ...this.#world.weather, fails: 0, spoils: 0 };
    const reached: string[] = [];
    for (const machine of this.#machines) this.#end(machine);
    for (const machine of this.#machines) machine.fate = 'alive';
    for (const machine of this.#machines) {
      machine.frozenUntil = 0;
      let done = false;
      const life = machine.life;
      const { provider, move } = this.#process(machine);
      const go = async (): Promise<void> => {
        while (!done && machine.life === life) {
          done = await this.#use(machine, provider, move);
          if (!done) await this.#pause(5_000);
        }
      };
      go().catch((error: unknown) => this.#broken.push(String(error)));
      const until = this.#time.now + 3_600_000;
      // The others are there meanwhile, and let go what they do not need.
      for (const other of this.#machines) if (other !== machine) this.#idle(other);
      await this.#time.run(() => done || this.#time.now > until);
      if (done) reached.push(machine.self.zone ?? '');
      for (const one of this.#machines) this.#end(one);
    }
    return reached;
  }

  #process(machine: Machine) {
    const provider = this.#world.provider(machine);
    const { settleMs } = this.#hosts;
    return { provider, move: new ZoneMove({ provider, self: machine.self, traits: () => ({}), settleMs }) };
  }

  /** A process that only tidies up, and lets go what an earlier one had. */
  #idle(machine: Machine): void {
    const { life } = machine;
    const { provider, move } = this.#process(machine);
    const go = async (): Promise<void> => {
      while (machine.life === life) {
        await this.#tidy(machine, provider, move);
        await this.#letGoAll(machine, provider);
        await this.#pause(20_000);
      }
    };
    go().catch((error: unknown) => this.#broken.push(String(error)));
  }

  /** The process on a machine: wants the volume now and then, and tidies up. */
  #boot(machine: Machine): void {
    const { life } = machine;
    const { provider, move } = this.#process(machine);
    let using = false;
    const go = async (): Promise<void> => {
      while (machine.life === life) {
        await this.#pause(this.#world.random() * 120_000);
        using = true;
        await this.#use(machine, provider, move);
        using = false;
      }
    };
    const sweep = async (): Promise<void> => {
      while (machine.life === life) {
        await this.#pause(30_000 + this.#world.random() * 30_000);
        await this.#tidy(machine, provider, move);
        if (!using) await this.#letGoAll(machine, provider);
      }
    };
    go().catch((error: unknown) => this.#broken.push(String(error)));
    sweep().catch((error: unknown) => this.#broken.push(String(error)));
  }

  async #tidy(machine: Machine, provider: DiskProvider, move: ZoneMove): Promise<void> {
    await this.#counted(async () => move.tidy(await provider.list(this.#context()), this.#context()), machine);
  }

  /** As reconcile does with what a crash has left attached. */
  async #letGoAll(machine: Machine, provider: DiskProvider): Promise<void> {
    await this.#counted(async () => {
      for (const { id, holder } of await provider.list(this.#context())) {
        if (holder?.id === machine.self.id && machine.mounted === undefined) {
          await detachDisk(provider, machine.self, id, this.#context());
        }
      }
    }, machine);
  }

  /** Mounts the volume, reads, writes and lets it go. False: it could not be had. */
  async #use(machine: Machine, provider: DiskProvider, move: ZoneMove): Promise<boolean> {
    const { life } = machine;
    return await this.#counted(async () => {
      const c = this.#context();
      const brought = await move.bring('data', undefined, c);
      const disk = await holdDisk(provider, machine.self, brought.disk, c);
      try {
        move.checkAttached(disk);
        await move.finish({ ...brought, disk }, c);
        // As mount(8) finds no device, or fails on it.
        if (!this.#world.hasDevice(machine, disk.id)) return;
        this.#mount(machine, disk.id);
        const writes = Math.floor(this.#world.random() * 5);
        for (let n = 0; n < writes; n += 1) {
          await this.#pause(this.#world.random() * 20_000);
          while (machine.frozenUntil > this.#time.now) await this.#pause(1_000);
          // Who was stopped meanwhile writes nothing.
          if (machine.life !== life) return;
          this.#write(machine, disk.id);
        }
        if (machine.life !== life) return;
        machine.mounted = undefined;
      } finally {
        if (machine.life === life) await detachDisk(provider, machine.self, disk.id, this.#context());
      }
    }, machine);
  }

  #mount(machine: Machine, id: string): void {
    const disk = this.#world.disks.find((one) => one.id === id);
    const other = this.#machines.find((one) => one !== machine && one.fate === 'alive' && one.mounted !== undefined);
    if (other !== undefined) this.#broken.push(`${machine.self.name} and ${other.self.name} have it at once`);
    if (disk?.data !== this.#acknowledged) {
      this.#broken.push(`${machine.self.name} reads ${disk?.data} of ${id}, and ${this.#acknowledged} was written`);
    }
    machine.mounted = id;
    this.#mounts += 1;
    if (this.#lastDisk !== id) this.#moves += 1;
    this.#lastDisk = id;
  }

  #write(machine: Machine, id: string): void {
    this.#counter += 1;
    if (this.#world.write(machine, id, this.#counter)) this.#acknowledged = this.#counter;
  }

  /** Runs what may fail, and counts how. True: it did not. */
  async #counted(work: () => Promise<void>, { life, ...machine }: Machine): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      const code = error instanceof PluginError ? error.code : 'other';
      this.#errors[code] = (this.#errors[code] ?? 0) + 1;
      if (code === 'other') this.#broken.push(`${machine.self.name}: ${String(error)}`);
      return false;
    }
  }

  /** Accidents, one after the other. */
  #cause(): void {
    setTimeout(() => {
      if (this.#time.now > this.#hosts.ms) return;
      if (this.#world.random() < this.#hosts.accidents) this.#accident();
      this.#cause();
    }, 10_000);
  }

  #accident(): void {
    const { random } = this.#world;
    const machine = this.#machines[Math.floor(random() * this.#machines.length)];
    if (machine === undefined || machine.fate !== 'alive') return;
    this.#accidents += 1;
    const kind = random();
    if (kind < 0.35) {
      machine.frozenUntil = this.#time.now + random() * 200_000;
      return;
    }
    // Its process is killed, and is there again; what was mounted is let go first.
    if (kind < 0.7) {
      this.#end(machine);
      this.#boot(machine);
      return;
    }
    this.#end(machine);
    machine.fate = 'stopped';
    setTimeout(() => {
      if (this.#time.now > this.#hosts.ms) return;
      machine.fate = 'alive';
      this.#boot(machine);
    }, random() * 400_000);
  }

  #end(machine: Machine): void {
    machine.life += 1;
    machine.mounted = undefined;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  #context(): Context {
    return newContext(silentLogger, USE_MS);
  }
}
