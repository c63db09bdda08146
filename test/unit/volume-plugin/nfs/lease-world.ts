import { PluginError } from '../../../../shared/errors.ts';
import type { LeaseClock } from '../../../../volume-plugin/nfs/lease-times.ts';
import type { ShareFiles } from '../../../../volume-plugin/nfs/share-files.ts';

/**
 * A share and its hosts as they may be at their worst, in memory and in virtual time: requests and answers take their
 * time, get lost, or are carried out long after they were given up; a host reads what was so when it last wrote itself,
 * or anything since then; clocks go at different speeds, and stand still while a host is frozen. What the server decides at
 * once: which of two hosts makes a file.
 */

export interface Weather {
  /** How likely a request or its answer is lost. */
  readonly loses: number;
  /** How likely a request is slow, of all and of those that are lost. */
  readonly slow: number;
  /** Longest time that a slow request is on its way, in milliseconds. */
  readonly slowMs: number;
}

type Content = ReadonlyMap<string, string>;

const GIVE_UP_MS = 6_000;
/** What a host reads without having written may be so old. */
const STALE_MS = 60_000;

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** What waits for a process that has ended. */
const forever = (): Promise<never> => new Promise(() => undefined);

export class LeaseHostModel {
  readonly id: string;
  readonly name: string;
  /** Its clock's speed. */
  readonly rate: number;
  /** Counted up whenever its plugin ends: what an earlier one has begun goes nowhere. */
  life = 0;
  frozenUntil = 0;
  /** Nothing reaches the server, nor comes back. */
  cutUntil = 0;
  /** How long it was frozen, in all. */
  #frozen = 0;
  #frozenAt = 0;
  /** When its own writing was last carried out. */
  wrote = Number.NEGATIVE_INFINITY;
  readonly #world: LeaseWorld;

  constructor(world: LeaseWorld, n: number, rate: number) {
    this.#world = world;
    this.id = `id-${n}`;
    this.name = `host-${n}`;
    this.rate = rate;
  }

  get isFrozen(): boolean {
    return this.frozenUntil > this.#world.now();
  }

  freeze(ms: number): void {
    if (this.isFrozen) return;
    this.#frozen = this.#frozenTime;
    this.#frozenAt = this.#world.now();
    this.frozenUntil = this.#frozenAt + ms;
  }

  /** The clock of the plugin that runs on it now. */
  clock(): LeaseClock {
    const { life } = this;
    const now = (): number => (this.#world.now() - this.#frozenTime) * this.rate;
    const after = (ms: number, run: () => void): (() => void) => {
      const due = now() + ms;
      let ended = false;
      const wait = (): void => {
        if (ended || this.life !== life) return;
        const left = this.isFrozen ? this.frozenUntil - this.#world.now() : (due - now()) / this.rate;
        if (left > 0.001) setTimeout(wait, left);
        else run();
      };
      setTimeout(wait, ms / this.rate);
      return () => {
        ended = true;
      };
    };
    return { now, after };
  }

  get #frozenTime(): number {
    const { frozenUntil } = this;
    return this.#frozen + Math.max(0, Math.min(this.#world.now(), frozenUntil) - this.#frozenAt);
  }

  /** Resolves when the plugin of this life may go on. */
  async runs(life: number): Promise<void> {
    while (this.isFrozen) await later(this.frozenUntil - this.#world.now());
    if (this.life !== life) await forever();
  }
}

export class LeaseWorld {
  readonly random: () => number;
  readonly now: () => number;
  weather: Weather;
  /** Newest last. */
  #states: { readonly at: number; readonly files: Content }[] = [
    { at: Number.NEGATIVE_INFINITY, files: new Map<string, string>() },
  ];

  constructor(random: () => number, weather: Weather, now: () => number) {
    this.random = random;
    this.weather = weather;
    this.now = now;
  }

  get files(): Content {
    return (this.#states.at(-1) as { readonly files: Content }).files;
  }

  /** The share as the plugin that runs on the host now has it. */
  filesOf(host: LeaseHostModel): ShareFiles {
    const { life } = host;
    const write = <T>(change: (files: Map<string, string>) => T): Promise<T> =>
      this.#call(host, life, () => {
        const files = new Map(this.files);
        const result = change(files);
        this.#states.push({ at: this.now(), files });
        const old = this.now() - STALE_MS;
        while ((this.#states[1]?.at ?? Number.POSITIVE_INFINITY) < old) this.#states.shift();
        host.wrote = this.now();
        return result;
      });
    const read = <T>(look: (files: Content) => T): Promise<T> => this.#call(host, life, () => look(this.#seenBy(host)));
    const never = async (): Promise<never> => {
      throw new Error('not asked for here');
    };
    return {
      makeFolder: () => this.#call(host, life, () => false),
      readFile: (path) => read((files) => files.get(path)),
      names: (folder) =>
        read((files) =>
          [...files.keys()]
            .filter((path) => path.startsWith(`${folder}/`))
            .map((path) => path.slice(folder.length + 1)),
        ),
      createFile: (path, content) =>
        write((files) => {
          if (files.has(path)) return false;
          files.set(path, content);
          return true;
        }),
      replaceFile: (path, content) => write((files) => void files.set(path, content)),
      removeFile: (path) => write((files) => void files.delete(path)),
      noteFile: never,
      hasFolder: never,
      readFiles: never,
      move: never,
      removeTree: never,
      room: never,
    };
  }

  /** Any state since the host's last writing was carried out, but none that is older than kernels remember. */
  #seenBy(host: LeaseHostModel): Content {
    const oldest = Math.max(host.wrote, this.now() - STALE_MS);
    const first = Math.max(
      0,
      this.#states.findLastIndex(({ at }) => at <= oldest),
    );
    const chosen = this.random() < 0.5 ? first : first + Math.floor(this.random() * (this.#states.length - first));
    return this.#states[chosen]?.files ?? this.files;
  }

  /** A request of this life of the host: carried out at most once, answered at most once. */
  async #call<T>(host: LeaseHostModel, life: number, work: () => T): Promise<T> {
    await host.runs(life);
    const { loses, slow, slowMs } = this.weather;
    const isCut = (): boolean => host.cutUntil > this.now();
    const isLost = this.random() < loses || isCut();
    const way = (): number => (this.random() < slow ? this.random() * slowMs : this.random() * 40);
    const answer = Promise.withResolvers<T>();
    const reached = isLost ? this.random() < 0.5 : true;
    // What is cut off comes through when it is not any more: kernels send it again.
    const arrive = async (): Promise<void> => {
      await later(way());
      while (isCut()) await later(host.cutUntil - this.now() + this.random() * 1_000);
      const result = work();
      await later(way());
      if (!isLost && !isCut()) answer.resolve(result);
    };
    if (reached) void arrive();
    const silent = new PluginError('SHARE_SILENT', { share: 'model' });
    const timer = setTimeout(() => answer.reject(silent), GIVE_UP_MS);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      await host.runs(life);
    }
  }
}
