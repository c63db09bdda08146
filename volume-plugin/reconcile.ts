import { type Context, newContext, sleep } from '../shared/context.ts';
import { asPluginError } from '../shared/errors.ts';
import type { Driver } from './driver.ts';
import { Losing } from './losing.ts';
import type { DriverDeps } from './parts.ts';
import { dropReferences, holdsOn, referencesOf } from './references.ts';
import type { MountRecord } from './state.ts';
import { tellHolds } from './telling.ts';

const TICK_MS = 5_000;
const PASS_MS = 120_000;
const FINISH_MS = 60_000;
/** So many passes in a row must find nobody with a volume before its holds are nobody's. */
const PASSES = 2;

/** Something that was not as the records say. */
export interface Drift {
  readonly what: string;
}

/** Makes records and kernel agree after a crash, and goes on doing so: what is held, mounted, begun and known. */
export class Reconciler {
  readonly #deps: DriverDeps;
  readonly #driver: Driver;
  /** Volumes that their containers will ask for again in a moment, if there are any. */
  readonly #expected = new Set<string>();
  /** How many passes have found nobody who has the volume. */
  readonly #unused = new Map<string, number>();
  readonly #loops: Promise<void>[] = [];
  readonly #finishing = new Set<Promise<void>>();
  readonly #losing: Losing;

  constructor(deps: DriverDeps, driver: Driver) {
    this.#deps = deps;
    this.#driver = driver;
    this.#losing = new Losing(deps);
  }

  /** At the start, before the first call: what the records of an earlier life say that is not so any more. */
  async atStart(): Promise<readonly Drift[]> {
    const { store, boot, now } = this.#deps;
    const lost = [...store.all('mounts').values()].filter((mount) => mount.boot !== boot || !this.#isThere(mount));
    const unused = new Set(lost.filter((mount) => mount.boot !== boot || !this.#isUsed(mount)));
    const drift: Drift[] = [];
    await store.update((tx) => {
      for (const [key, { boot: other }] of [...tx.all('references')]) if (other !== boot) tx.delete('references', key);
      for (const mount of lost) {
        const { volume } = mount;
        // Nobody can still use what is mounted nowhere; who had it comes again with a Mount.
        if (unused.has(mount)) dropReferences(tx, volume);
        const ended = mount.boot !== boot || mount.phase === 'leaving';
        const phase = ended ? 'leaving' : unused.has(mount) ? 'unmounting' : 'mounting';
        if (mount.phase === phase && mount.boot === boot) continue;
        tx.put('mounts', volume, { ...mount, phase, boot, since: now() });
        this.#expected.add(volume);
        drift.push({ what: `${volume} is not mounted any more` });
      }
    });
    return drift;
  }

  /** Begins to repair and to refresh, until the plugin's life ends. */
  start(refreshMs: number): void {
    const { windows, store } = this.#deps;
    // What an earlier life did not come to tell.
    for (const volume of store.all('mounts').keys()) tellHolds(this.#deps, volume);
    this.#resume();
    this.#loop(TICK_MS, async () => this.tick());
    this.#loop(windows.staleMs / 4, async (c) => void (await this.pass(c)));
    this.#loop(refreshMs, async (c) => {
      await this.#driver.catalogue.refresh(c);
      await this.#losing.check(c);
    });
  }

  /** What is mounted is looked after by the back-ends again. */
  #resume(): void {
    const { store, backends, boot } = this.#deps;
    for (const mount of store.all('mounts').values()) {
      const volume = store.get('volumes', mount.volume);
      const { target, source, device, phase } = mount;
      if (volume === undefined || source === undefined || device === undefined || mount.boot !== boot) continue;
      if (phase === 'leaving') continue;
      backends.all.get(volume.type)?.resume?.(volume, { target, source, device });
    }
  }

  /** A back-end has found out that a volume is lost. */
  async lose(volume: string): Promise<void> {
    const { log, life } = this.#deps;
    await this.#losing.checkOne(volume, newContext(log, PASS_MS, life)).catch((error: unknown) => {
      log.error('a lost volume is not yet marked as such', { volume, error: asPluginError(error) });
    });
  }

  /** Waits until the loops and what they have begun have ended, with the plugin's life: nothing is to stay frozen. */
  async ended(): Promise<void> {
    await Promise.allSettled([...this.#loops, ...this.#finishing]);
  }

  /** Carries on with what nobody waits for. */
  tick(): void {
    this.#driver.releasing.resume((mount) => this.#isDue(mount));
    const { catalogue, dayTwo } = this.#driver;
    for (const name of dayTwo.begun()) this.#finish(name, (c) => dayTwo.finish(name, c));
    for (const { name, phase } of catalogue.all()) {
      if (phase !== 'ready') this.#finish(name, (c) => this.#driver.finish(name, c));
    }
  }

  #finish(volume: string, work: (c: Context) => Promise<void>): void {
    if (this.#deps.locks.isHeld(volume)) return;
    const c = newContext(this.#deps.log, FINISH_MS, this.#deps.life);
    const done = work(c).catch((error: unknown) => {
      c.log.info('what was begun with a volume is not finished yet', { volume, error: asPluginError(error) });
    });
    this.#finishing.add(done);
    void done.finally(() => this.#finishing.delete(done));
  }

  /** Looks for holds that are nobody's and for mounts that are lost. */
  async pass(c: Context): Promise<readonly Drift[]> {
    const { store, locks } = this.#deps;
    const drift: Drift[] = [];
    // A container that waits for its second volume has not got its first one mounted yet.
    const starting = this.#driver.releasing.isWaitedFor;
    for (const mount of [...store.all('mounts').values()]) {
      const { volume } = mount;
      if (locks.isHeld(volume)) continue;
      await locks.run(
        volume,
        async () => {
          if (store.get('mounts', volume) !== mount) return;
          if (mount.phase === 'mounted' && !this.#isThere(mount)) {
            await store.update((tx) =>
              tx.put('mounts', volume, { ...mount, phase: 'mounting', since: this.#deps.now() }),
            );
            drift.push({ what: `${volume} is not mounted any more` });
          }
          if (!starting && (await this.#dropStale(mount))) drift.push({ what: `${volume} was held by nobody` });
        },
        c,
      );
    }
    if (drift.length > 0)
      this.#deps.log.warn('records and kernel did not agree', { drift: drift.map(({ what }) => what) });
    return drift;
  }

  async #dropStale(mount: MountRecord): Promise<boolean> {
    const { store, now, windows } = this.#deps;
    const { volume } = mount;
    const newest = Math.max(0, ...[...store.all('references').values()].map(({ since }) => since));
    const isOld = now() - newest >= windows.staleMs;
    if (referencesOf(store, volume).length === 0 || !isOld || this.#isUsed(mount)) {
      this.#unused.delete(volume);
      return false;
    }
    const passes = (this.#unused.get(volume) ?? 0) + 1;
    this.#unused.set(volume, passes);
    if (passes < PASSES) return false;
    this.#unused.delete(volume);
    await store.update((tx) => dropReferences(tx, volume));
    tellHolds(this.#deps, volume);
    return true;
  }

  #isThere({ target, source, device }: MountRecord): boolean {
    const found = this.#deps.tables.at(target);
    return found !== undefined && found.source === source && found.device === device;
  }

  /** When it cannot be told, it counts as used. */
  #isUsed({ device, source, shared }: MountRecord): boolean {
    if (device === undefined) return false;
    try {
      return this.#deps.tables.users(device, shared === true ? source : undefined).length > 0;
    } catch (error) {
      this.#deps.log.warn('it cannot be told who uses a volume: counted as used', { device, error });
      return true;
    }
  }

  #isDue({ volume, phase, since }: MountRecord): boolean {
    const rested = this.#deps.now() - since >= this.#deps.windows.idleMs;
    if (rested) this.#expected.delete(volume);
    if (phase === 'mounting' || phase === 'mounted') return rested && holdsOn(this.#deps.store, volume) === 0;
    return !this.#expected.has(volume);
  }

  #loop(intervalMs: number, work: (c: Context) => Promise<void>): void {
    const { life, log } = this.#deps;
    const run = async (): Promise<void> => {
      while (!life.signal.aborted) {
        try {
          await work(newContext(log, PASS_MS, life));
        } catch (error) {
          if (!life.signal.aborted)
            log.warn('a round of repair failed; the next one comes', { error: asPluginError(error) });
        }
        // With jitter: the hosts of a cluster are not to ask all at once.
        await sleep(intervalMs * (0.8 + 0.4 * Math.random()), life).catch(() => undefined);
      }
    };
    this.#loops.push(run());
  }
}
