import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { LEASE_TIMES, type LeaseTimes } from '../../../../volume-plugin/nfs/lease-times.ts';
import { type LeasedShare, Leases } from '../../../../volume-plugin/nfs/leases.ts';
import { randomOf } from '../../../suites/random.ts';
import { VirtualTime } from '../block/virtual-time.ts';
import { LeaseHostModel, LeaseWorld, type Weather } from './lease-world.ts';

/**
 * Hosts that want one volume, again and again, while what can go wrong does. Whoever has it writes; checked at each change:
 * no two hosts write at once.
 */

export interface Play {
  readonly hosts: number;
  /** How long they go on, in virtual milliseconds. */
  readonly ms: number;
  readonly weather: Weather;
  readonly times?: LeaseTimes;
  /** How likely one of these happens in each ten seconds. */
  readonly accidents: {
    /** A host is frozen for up to so many milliseconds. */
    readonly freezeMs: number;
    /** A host is cut off from the server for up to so long. */
    readonly cutMs: number;
    /** A plugin is killed and is back within so long. */
    readonly downMs: number;
    /** A plugin is stopped in good order, while containers go on, and is back within so long. */
    readonly stopMs: number;
    /** A host loses its power; an operator may say so. */
    readonly power: boolean;
    readonly chance: number;
  };
}

/** Two hosts that wrote at once. */
export interface Overlap {
  readonly hosts: readonly string[];
  readonly at: number;
  readonly ms: number;
  /** Milliseconds of it after the last time that one was frozen, cut off, or without its plugin. */
  readonly afterwardsMs: number;
}

export interface Outcome {
  readonly takes: number;
  readonly takenOver: number;
  readonly lost: number;
  readonly accidents: number;
  readonly overlaps: readonly Overlap[];
  /** Codes, and how often each. */
  readonly errors: Readonly<Record<string, number>>;
  /** Hosts that got the volume when everything worked again. */
  readonly reached: readonly string[];
  /** Files that are left. */
  readonly files: readonly string[];
}

const VOLUME = 'data';
/** Longest time that a host needs to keep its containers from writing. */
const CUT_OFF_MS = 3_000;

export const play = async (seed: number, given: Play): Promise<Outcome> => {
  const time = new VirtualTime();
  time.install(randomOf(seed + 1));
  try {
    return await new Game(seed, given, time).play();
  } finally {
    time.restore();
  }
};

interface Actor {
  readonly host: LeaseHostModel;
  leases: Leases;
  on: LeasedShare;
  writes: boolean;
  powered: boolean;
  /** The end of the last time that it was frozen, or its plugin away: it cannot have known better before. */
  blindUntil: number;
}

class Game {
  readonly #world: LeaseWorld;
  readonly #time: VirtualTime;
  readonly #play: Play;
  readonly #actors: Actor[];
  readonly #overlaps: Overlap[] = [];
  readonly #errors: Record<string, number> = {};
  readonly #broken: string[] = [];
  #since: number | undefined;
  #takes = 0;
  #takenOver = 0;
  #lost = 0;
  #accidents = 0;
  #lastEpoch = 0;
  #over = false;

  constructor(seed: number, given: Play, time: VirtualTime) {
    const random = randomOf(seed);
    this.#world = new LeaseWorld(random, given.weather, () => time.now);
    this.#time = time;
    this.#play = given;
    this.#actors = Array.from({ length: given.hosts }, (_, n) => {
      const host = new LeaseHostModel(this.#world, n, 0.99 + random() * 0.02);
      return this.#start({ host, writes: false, powered: true, blindUntil: 0 });
    });
  }

  async play(): Promise<Outcome> {
    for (const actor of this.#actors) this.#want(actor);
    this.#cause();
    await this.#time.run(() => this.#time.now > this.#play.ms);
    this.#over = true;
    const reached = await this.#afterwards();
    return {
      ...{ takes: this.#takes, takenOver: this.#takenOver, lost: this.#lost, accidents: this.#accidents },
      ...{ overlaps: this.#overlaps, errors: this.#errors, reached },
      files: [...this.#world.files.keys()],
    };
  }

  #start(actor: Pick<Actor, 'host' | 'writes' | 'powered' | 'blindUntil'>): Actor {
    const { host } = actor;
    const { life } = host;
    const leases = new Leases({
      ...{ self: host, log: silentLogger, clock: host.clock(), times: this.#play.times ?? LEASE_TIMES },
      onLost: () => void this.#cutOff(actor as Actor, life),
    });
    return Object.assign(actor, { leases, on: { share: { id: 'share' }, files: this.#world.filesOf(host) } });
  }

  async #cutOff(actor: Actor, life: number): Promise<void> {
    this.#lost += 1;
    await this.#pause(this.#world.random() * CUT_OFF_MS);
    await actor.host.runs(life);
    this.#write(actor, false);
  }

  /** Wants the volume now and then, and lets it go. */
  #want(actor: Actor): void {
    const { host, leases, on } = actor;
    const { life } = host;
    const { random } = this.#world;
    const go = async (): Promise<void> => {
      while (host.life === life && !this.#over) {
        // What an earlier life has mounted is there yet.
        if (!actor.writes) {
          await this.#pause(random() * 8_000);
          await host.runs(life);
          if (!(await this.#take(actor, life, 10_000 + random() * 120_000))) continue;
        }
        for (let left = random() * 150_000; left > 0 && actor.writes; left -= 1_000) await this.#pause(1_000);
        await host.runs(life);
        this.#write(actor, false);
        await this.#letGo(actor, life, () => leases.release(VOLUME, on, newContext(silentLogger, 30_000)));
      }
    };
    go().catch((error: unknown) => this.#broken.push(String(error)));
  }

  async #take(actor: Actor, life: number, ms: number): Promise<boolean> {
    const { host, leases, on } = actor;
    try {
      const { epoch } = await leases.take(VOLUME, on, newContext(silentLogger, ms));
      await host.runs(life);
      this.#takes += 1;
      if (epoch !== this.#lastEpoch + 1) this.#takenOver += 1;
      this.#lastEpoch = epoch;
      // It may be lost before it is mounted.
      if (leases.lost(VOLUME) === undefined) this.#write(actor, true);
      return true;
    } catch (error) {
      this.#count(error);
      return false;
    }
  }

  async #letGo({ host }: Actor, life: number, release: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await release();
        return;
      } catch (error) {
        this.#count(error);
      }
      if (host.life !== life) return;
      await this.#pause(1_000);
    }
  }

  #count(error: unknown): void {
    const code = error instanceof PluginError ? error.code : String(error);
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }

  #write(actor: Actor, writes: boolean): void {
    actor.writes = writes;
    this.#check();
  }

  /** After each change of who can write: hosts that are frozen cannot. */
  #check(): void {
    const writers = this.#actors.filter(({ writes, host, powered }) => writes && powered && !host.isFrozen);
    if (writers.length > 1 && this.#since === undefined) {
      this.#since = this.#time.now;
      const hosts = writers.map(({ host }) => host.name);
      const follow = (): void => {
        const now = this.#actors.filter(({ writes, host, powered }) => writes && powered && !host.isFrozen);
        if (now.length > 1 && this.#time.now < (this.#since ?? 0) + 300_000) {
          setTimeout(follow, 100);
          return;
        }
        const blind = Math.max(...writers.map(({ blindUntil, host }) => Math.max(blindUntil, host.cutUntil)));
        const at = this.#since ?? 0;
        const ms = this.#time.now - at;
        this.#overlaps.push({ hosts, at, ms, afterwardsMs: Math.min(ms, Math.max(0, this.#time.now - blind)) });
        this.#since = undefined;
      };
      setTimeout(follow, 100);
    }
  }

  /** Accidents, one after the other. */
  #cause(): void {
    setTimeout(() => {
      if (this.#over) return;
      if (this.#world.random() < this.#play.accidents.chance) this.#accident();
      this.#cause();
    }, 10_000);
  }

  #accident(): void {
    const { random } = this.#world;
    const { freezeMs, cutMs, downMs, stopMs, power } = this.#play.accidents;
    const actor = this.#actors[Math.floor(random() * this.#actors.length)];
    if (actor === undefined || !actor.powered) return;
    const { host } = actor;
    this.#accidents += 1;
    const kinds = [
      ...(freezeMs > 0 ? [() => this.#freeze(actor, random() * freezeMs)] : []),
      ...(cutMs > 0 ? [() => this.#cut(host, random() * cutMs)] : []),
      ...(downMs > 0 ? [() => this.#kill(actor, random() * downMs)] : []),
      ...(stopMs > 0 ? [() => this.#stop(actor, random() * stopMs)] : []),
      ...(power ? [() => this.#powerOff(actor)] : []),
    ];
    kinds[Math.floor(random() * kinds.length)]?.();
  }

  #freeze(actor: Actor, ms: number): void {
    actor.host.freeze(ms);
    actor.blindUntil = Math.max(actor.blindUntil, actor.host.frozenUntil);
    setTimeout(() => this.#check(), ms + 1);
  }

  #cut(host: LeaseHostModel, ms: number): void {
    host.cutUntil = Math.max(host.cutUntil, this.#time.now + ms);
  }

  /** The plugin is killed: containers go on. */
  #kill(actor: Actor, ms: number): void {
    const { host } = actor;
    host.life += 1;
    const { life } = host;
    actor.blindUntil = Math.max(actor.blindUntil, this.#time.now + ms);
    setTimeout(() => {
      if (host.life === life && actor.powered && !this.#over) this.#boot(actor);
    }, ms);
  }

  /** As an upgrade does; whoever was about to mount it gives up. */
  #stop(actor: Actor, ms: number): void {
    const { host, leases } = actor;
    const { life } = host;
    const close = async (): Promise<void> => {
      await leases.close();
      if (host.life === life) this.#kill(actor, ms);
    };
    close().catch((error: unknown) => this.#broken.push(String(error)));
  }

  #powerOff(actor: Actor): void {
    const { host } = actor;
    host.life += 1;
    actor.powered = false;
    actor.writes = false;
    const { random } = this.#world;
    const other = this.#actors.find((one) => one !== actor && one.powered);
    if (other !== undefined && random() < 0.5) {
      const c = newContext(silentLogger, 60_000);
      other.leases.fence(VOLUME, host.name, other.on, c).catch((error: unknown) => this.#count(error));
    }
    setTimeout(() => {
      if (this.#over) return;
      actor.powered = true;
      this.#boot(actor);
    }, random() * 200_000);
  }

  #boot(actor: Actor): void {
    this.#start(actor);
    if (actor.writes) actor.leases.resume(VOLUME, actor.on);
    this.#want(actor);
  }

  /** Everything works again: one host after the other must get the volume. */
  async #afterwards(): Promise<readonly string[]> {
    this.#world.weather = { loses: 0, slow: 0, slowMs: 0 };
    for (const actor of this.#actors) {
      actor.host.life += 1;
      actor.host.cutUntil = 0;
      actor.host.frozenUntil = 0;
      actor.powered = true;
      actor.writes = false;
      this.#start(actor);
    }
    const reached: string[] = [];
    for (const { host, leases, on } of this.#actors) {
      let ended = false;
      const go = async (): Promise<void> => {
        // As plugins do that find nothing mounted which their records say they have.
        for (const one of this.#actors) await one.leases.release(VOLUME, one.on, newContext(silentLogger, 30_000));
        // What earlier lives have sent may yet arrive, and looks as if they lived.
        for (let tries = 0; tries < 20; tries += 1) {
          try {
            await leases.take(VOLUME, on, newContext(silentLogger, 300_000));
            break;
          } catch (error) {
            this.#count(error);
            await this.#pause(5_000);
          }
        }
        if (leases.holder(VOLUME)?.host !== host.name) return;
        reached.push(host.name);
        await leases.release(VOLUME, on, newContext(silentLogger, 30_000));
      };
      go()
        .catch((error: unknown) => this.#count(error))
        .finally(() => {
          ended = true;
        });
      await this.#time.run(() => ended);
    }
    if (this.#broken.length > 0) throw new Error(this.#broken.join('; '));
    return reached;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}
