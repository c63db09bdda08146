import { now } from '../../shared/context.ts';

/** After so long in milliseconds a cloud shows what was written: until then what it shows may be older. */
const SETTLE_MS = 10_000;

interface Written {
  readonly until: number;
  /** Which write it was: of one that shows in part, all shows, and all before it. */
  readonly number: number;
  /** Undefined: taken away. */
  readonly value: string | undefined;
  /** What it was before: while one of these is shown, it is shown late. Another value is somebody else's, and later. */
  readonly old: ReadonlySet<string | undefined>;
}

type Tags = Readonly<Record<string, string>>;

/** A host reads what it wrote, though the cloud may still show what was before. What others wrote is as late as it is. */
export class OwnWrites {
  readonly #tagged = new Map<string, Map<string, Written>>();
  readonly #attached = new Map<string, number>();
  readonly #removed = new Map<string, number>();
  #writes = 0;

  /** `before`: its tags as they were, by `tagsOf`. */
  tagged(id: string, before: Tags, set: Tags, gone: readonly string[]): void {
    const written = this.#tagged.get(id) ?? new Map<string, Written>();
    this.#writes += 1;
    const rest = { until: now() + SETTLE_MS, number: this.#writes };
    for (const [name, value] of [...Object.entries(set), ...gone.map((one) => [one, undefined] as const)]) {
      const known = written.get(name);
      const old = new Set([...(known === undefined ? [] : [...known.old, known.value]), before[name]]);
      old.delete(value);
      // One that stays as it was does not tell whether the others show.
      if (old.size === 0) written.delete(name);
      else written.set(name, { ...rest, value, old });
    }
    this.#tagged.set(id, written);
  }

  attached(id: string): void {
    this.#attached.set(id, now() + SETTLE_MS);
  }

  removed(id: string): void {
    this.#removed.set(id, now() + SETTLE_MS);
    this.#tagged.delete(id);
    this.#attached.delete(id);
  }

  /** It may still be shown, but it is gone. */
  isRemoved(id: string): boolean {
    return isFresh(this.#removed, id);
  }

  /** It was attached here a moment ago. `shows`: it is seen that it is, so that what is seen counts from now on. */
  isAttached(id: string, shows: boolean): boolean {
    if (shows) this.#attached.delete(id);
    return isFresh(this.#attached, id);
  }

  /** The tags as they are, from what is shown. */
  tagsOf(id: string, shown: Tags): Tags {
    const written = this.#tagged.get(id);
    if (written === undefined) return shown;
    const shows = [...written].flatMap(([name, { old, number }]) => (old.has(shown[name]) ? [] : [number]));
    const last = Math.max(0, ...shows);
    const tags: Record<string, string> = { ...shown };
    for (const [name, { until, value, number }] of written) {
      if (now() > until || number <= last) written.delete(name);
      else if (value === undefined) delete tags[name];
      else tags[name] = value;
    }
    if (written.size === 0) this.#tagged.delete(id);
    return tags;
  }
}

const isFresh = (times: Map<string, number>, id: string): boolean => {
  const until = times.get(id);
  if (until === undefined) return false;
  if (now() <= until) return true;
  times.delete(id);
  return false;
};
