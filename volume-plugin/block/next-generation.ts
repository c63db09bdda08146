import { createHash, randomUUID } from 'node:crypto';
import { type Context, now, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { until } from '../../shared/looking.ts';
import { generationOf, latestDisk } from './generations.ts';
import { inherited, leavingTag } from './leaving.ts';
import type { Disk, DiskRequest, Snapshot } from './provider.ts';
import type { MoveParts, Still } from './stillness.ts';

/** Nothing of a call whose outcome is open arrives later than so many settling times. */
export const OPEN_SETTLES = 6;
/** Numbers of generations that are tried in one attempt, when making one is burned. */
const NUMBERS = 3;

/** How a disk that is kept still gets its next generation: by a snapshot, with a token that names both. */
export class NextGeneration {
  readonly #deps: MoveParts;
  /** By disk: when a next generation was last asked for without an answer. */
  readonly #open = new Map<string, number>();
  /** By disk: the last number of a generation that is known to be burned. */
  readonly #burned = new Map<string, number>();

  constructor(deps: MoveParts) {
    this.#deps = deps;
  }

  /** May one appear yet that was asked for without an answer? */
  mayAppear(id: string): boolean {
    const asked = this.#open.get(id);
    return asked !== undefined && now() - asked < OPEN_SETTLES * this.#deps.settleMs;
  }

  /** Nothing that was asked for this disk matters any more. */
  forget(id: string): void {
    this.#open.delete(id);
  }

  /** A snapshot of this stillness, finished; undefined: it is gone, and the next round makes another. */
  async copy(
    { disk: head, stillness }: Still,
    percent: (done: number) => void,
    c: Context,
  ): Promise<Snapshot | undefined> {
    const { provider, self, settleMs } = this.#deps;
    const { id, volume, zone } = head;
    // The next one is another one: of a stillness with another name.
    const renew = (): Promise<void> => provider.tag(id, leavingTag(self, randomUUID()), c);
    const begun = await this.#snapshot(head, stillness, c);
    let seen = now();
    return await until(`moving volume ${volume} from zone ${zone} to zone ${self.zone}`, c, async (says) => {
      const found = begun && (await provider.describeSnapshot(begun.id, c));
      if (found?.state === 'ready') return { done: found };
      if (found?.state === 'failed') {
        await renew();
        await provider.removeSnapshot(found.id, c);
        throw new PluginError('BACKEND_REFUSED', {
          ...{ provider: provider.name, what: `to copy disk ${id} of volume ${volume}` },
          reason: `snapshot ${found.id} has failed`,
        });
      }
      if (begun === undefined || (found === undefined && now() - seen > settleMs)) {
        await renew();
        return { done: undefined };
      }
      if (found !== undefined) seen = now();
      percent(found?.progress ?? 0);
      says(`its snapshot is ${found?.progress ?? 0} % done`);
      return 'wait';
    });
  }

  /** Begins it, or finds the one that was begun; undefined: its token is burned. */
  async #snapshot({ id, volume, tags }: Disk, stillness: string, c: Context): Promise<Snapshot | undefined> {
    const { provider } = this.#deps;
    const known = (await provider.snapshots(c, volume)).filter(
      (one) => one.disk === id && one.tags.move === stillness && one.state !== 'failed',
    );
    const found = known.find(({ state }) => state === 'ready') ?? known[0];
    if (found !== undefined) return found;
    const { options = '{}', formatted } = tags;
    const all = { options, ...(formatted !== undefined && { formatted }), reason: 'move', move: stillness };
    try {
      return await provider.snapshot(id, all, token('snapshot', id, stillness), c);
    } catch (error) {
      if (error instanceof PluginError && error.code === 'TOKEN_BURNED') return undefined;
      throw error;
    }
  }

  /** Makes the next generation; undefined when another host has, or when it has to be looked for. */
  async make(head: Disk, snapshot: Snapshot | undefined, c: Context): Promise<Disk | undefined> {
    const { provider, self, settleMs } = this.#deps;
    const { id, volume, tags } = head;
    const { formatting: _, ...blank } = inherited(tags);
    const first = Math.max(generationOf(head), this.#burned.get(id) ?? 0) + 1;
    for (let number = first; number < first + NUMBERS; number += 1) {
      const request = {
        ...this.#deps.traits(head),
        ...{ volume, size: Math.max(head.size, snapshot?.size ?? 0) },
        ...(self.zone !== undefined && { zone: self.zone }),
        ...(snapshot !== undefined && { snapshot: snapshot.id }),
        // One that nobody has written to is made anew, and formatted here.
        tags: { ...(snapshot === undefined ? blank : inherited(tags)), generation: String(number), moving: id },
      };
      const made = await this.#ask(id, request, token('generation', id, String(number)), c);
      // A provider may answer with what another host has made with this token, in its own zone.
      const isOwn = made?.zone === self.zone;
      const seen = made && isOwn ? await this.#appeared(made, c) : undefined;
      if (seen !== undefined) return seen;
      // Another host was faster, in whatever zone; or what was made with this number has failed and is gone.
      await sleep(settleMs, c);
      if (latestDisk(await provider.list(c, volume))?.id !== id) return undefined;
      c.log.warn('a number of a generation is burned; the next one is tried', { volume, disk: id, number });
      this.#burned.set(id, number);
    }
    throw new PluginError('TOKEN_BURNED', { provider: provider.name, what: `the next generation of disk ${id}` });
  }

  /** Undefined: the token is burned. What was asked for without an answer may still be made. */
  async #ask(id: string, request: DiskRequest, name: string, c: Context): Promise<Disk | undefined> {
    const earlier = this.#open.get(id);
    this.#open.set(id, now());
    try {
      return await this.#deps.provider.create(request, name, c);
    } catch (thrown) {
      const error = asPluginError(thrown);
      const burned = error.code === 'TOKEN_BURNED';
      if (earlier === undefined && (burned || error.retry !== 'backoff')) this.#open.delete(id);
      if (burned) return undefined;
      throw thrown;
    }
  }

  /** Waits until a disk that was made can be seen, and is made; undefined: it has failed or vanished. */
  async #appeared(made: Disk, c: Context): Promise<Disk | undefined> {
    const { provider, settleMs } = this.#deps;
    const deadline = now() + settleMs;
    return await until(`making disk ${made.id} of volume ${made.volume}`, c, async (says) => {
      const found = await provider.describe(made.id, c);
      says(`it is ${found?.state ?? 'not to be seen yet'}`);
      if (found === undefined) return now() < deadline ? 'wait' : { done: undefined };
      if (found.state === 'creating') return 'wait';
      return { done: found.state === 'failed' ? undefined : found };
    });
  }
}

/** The same for all hosts, and short enough for any provider. */
const token = (...parts: readonly string[]): string =>
  `drayage-${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 40)}`;
