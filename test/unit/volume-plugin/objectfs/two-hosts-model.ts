import { setTimeout } from 'node:timers/promises';
import type { Caller } from '../../../../volume-plugin/fuse/file-system.ts';
import type { FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import { randomOf } from '../../../suites/random.ts';
import { codeOf, type Host } from './namespace-world.ts';
import type { Local, Side } from './two-hosts-known.ts';
import { FINE, isSameButForGaps, Scene, show, type Tree, type Weather } from './two-hosts-scene.ts';

export type { Local, Side } from './two-hosts-known.ts';

/** What one request does to the bucket, when it is carried out. */
export interface Effects {
  readonly files: ReadonlyMap<string, string | undefined>;
  /** Must all of it be there when it is answered? */
  readonly required: boolean;
  /** Of a rename: what the other host brings to the old place before it is copied, or into a folder until it is removed, goes along. */
  readonly moved?: { readonly from: string; readonly to: string };
}

export const NONE: Effects = { files: new Map(), required: false };

export interface Request<T> {
  readonly what: string;
  readonly effects: Effects;
  /** Errnos that are no fault. */
  readonly refusals: readonly string[];
  send(host: Host, caller: Caller): T | Promise<T>;
}

export type Outcome<T> = { readonly value: T } | { readonly errno: string };

export const failed = <T>(outcome: Outcome<T>): string | undefined => ('errno' in outcome ? outcome.errno : undefined);

/** Answers of a store that does not answer. */
const OPEN_OUTCOMES = ['EIO', 'EINTR'];

/** What is shown of what was done before a problem. */
const TRAIL = Number(process.env['TRAIL'] ?? 16);

const isWithin = (path: string, folder: string): boolean => path.startsWith(`${folder}/`);

/** The two hosts, the bucket, and what is known of them. */
export class Model {
  readonly scene: Scene;
  readonly random: () => number;
  readonly sides: Side[] = [];
  readonly counts = new Map<string, number>();
  readonly problems: string[] = [];
  readonly trail: string[] = [];
  tree: Tree = new Map();
  step = 0;
  /** How the store is while the next request is made. */
  forecast: Weather = FINE;
  /** What is to be looked at when the bucket has been looked at after the step. */
  readonly afterwards: (() => void)[] = [];
  /** What requests of the step have taken away or replaced, and of which host they were. */
  taken: { readonly side: Side | undefined; readonly files: Effects['files'] } = { side: undefined, files: new Map() };
  /** Does everything happen in its turn? Then nothing is lost on the way, and nothing is brought to the bucket in the background. */
  readonly calm: boolean;
  readonly #seed: number;

  private constructor(scene: Scene, seed: number, random: () => number, calm: boolean) {
    this.calm = calm;
    this.scene = scene;
    this.random = random;
    this.#seed = seed;
  }

  static async make(seed: number, calm: boolean): Promise<Model> {
    const random = randomOf(seed);
    const scene = await Scene.make(randomOf(seed + 1_000_000));
    const model = new Model(scene, seed, random, calm);
    for (const name of ['a', 'b']) {
      const durability = calm || random() < 0.5 ? 'server' : 'local';
      model.sides.push({ name, durability, host: await scene.host(name, false, durability), locals: [], gone: [] });
    }
    return model;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  pick<T>(some: readonly T[]): T | undefined {
    return some[this.below(some.length)];
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  problem(text: string): void {
    this.problems.push(
      `seed ${this.#seed}, step ${this.step}: ${text}; before: ${this.trail.slice(-TRAIL).join(' | ')}`,
    );
  }

  content(side: Side, local: Local): FileContent | undefined {
    return side.host.contents.find(local.node);
  }

  /** Files that a host must see. */
  view(side: Side): Map<string, string> {
    const files = new Map([...this.tree].filter(([path]) => !path.endsWith('/')));
    for (const { path, dirty, bytes } of side.locals) if (dirty && path !== undefined) files.set(path, bytes);
    return files;
  }

  folders(side: Side): Set<string> {
    const folders = new Set<string>();
    for (const path of [...this.tree.keys(), ...this.view(side).keys()]) {
      for (let cut = path.indexOf('/'); cut >= 0; cut = path.indexOf('/', cut + 1)) folders.add(path.slice(0, cut));
    }
    return folders;
  }

  local(side: Side, path: string): Local | undefined {
    return side.locals.find((one) => one.path === path);
  }

  /** Sends a request as the kernel does: again, when the engine dies before it has answered. */
  async ask<T>(side: Side, request: Request<T>, mayDie = true): Promise<Outcome<T>> {
    this.count(request.what.split(' ')[0] ?? '');
    const { host } = side;
    const caller = host.caller();
    if (mayDie && !this.calm && this.random() < 0.06) host.mortal.left = this.below(10);
    Object.assign(this.scene.weather, this.forecast);
    let outcome = await this.#answer(host, caller, request);
    this.scene.fine();
    if (outcome === undefined) {
      this.count('deaths');
      await this.restart(side, true);
      outcome = await this.#answer(side.host, { ...caller, resent: true }, request);
    } else if (host.mortal.isDead) await this.restart(side, true);
    host.mortal.left = undefined;
    const errno = outcome === undefined ? 'death' : failed(outcome);
    this.trail.push(`${this.step} ${side.name} ${request.what} ${errno ?? 'ok'}`);
    if (errno !== undefined && !OPEN_OUTCOMES.includes(errno) && !request.refusals.includes(errno)) {
      this.problem(`${side.name} ${request.what}: ${errno}`);
    }
    return outcome ?? { errno: 'death' };
  }

  async #answer<T>(host: Host, caller: Caller, request: Request<T>): Promise<Outcome<T> | undefined> {
    const work = async (): Promise<Outcome<T> | undefined> => {
      try {
        return { value: await request.send(host, caller) };
      } catch (error) {
        if (host.mortal.isDead) return undefined;
        const errno = codeOf(error);
        if (errno === undefined) throw error;
        this.trail.push(String(error).slice(0, 120));
        return { errno };
      }
    };
    return await Promise.race([work(), host.mortal.died.promise.then(() => undefined)]);
  }

  /** The next life of an engine; `survived`: of the same mount. */
  async restart(side: Side, survived: boolean): Promise<void> {
    side.host.kill();
    this.trail.push(`${this.step} ${side.name} ${survived ? 'dies' : 'is mounted anew'}`);
    side.host = await this.scene.host(side.name, survived, side.durability);
    if (!survived) for (const local of side.locals) Object.assign(local, { handles: [], untold: undefined });
  }

  /** A request whose outcome is open is carried out, or not, before anything else is looked at. */
  async settle(side: Side): Promise<void> {
    this.scene.fine();
    await this.restart(side, true);
    await this.drain(side);
  }

  async drain(side: Side): Promise<void> {
    const { fs } = side.host;
    try {
      await fs.syncfs(side.host.caller());
    } catch (error) {
      this.problem(`${side.name} cannot be written out: ${error}`);
    }
  }

  /** They are gathered for a moment first: what comes next is not to depend on how fast the machine is. */
  async attributesAreStored(): Promise<void> {
    for (const { host } of this.sides) while (host.fs.status()['attributesWaiting'] !== 0) await setTimeout(5);
  }

  /** Compares the bucket with what is known, and takes over what is as it may be. */
  async look(actor: Side | undefined, { files: effects, required, moved }: Effects, ok: boolean): Promise<void> {
    const along = new Set<string>();
    const sourceOf = (path: string): string | undefined => {
      if (moved === undefined) return undefined;
      const isIn = path === moved.to || isWithin(path, moved.to);
      return isIn ? moved.from + path.slice(moved.to.length) : undefined;
    };
    if (effects.size > 0) this.taken = { side: actor, files: effects };
    const clean = new Set(
      this.sides.flatMap((side) => side.locals.filter((local) => this.content(side, local)?.dirty !== true)),
    );
    const now = await this.scene.look();
    const paths = new Set([...this.tree.keys(), ...now.keys()]);
    for (const path of paths) {
      const [before, after] = [this.tree.get(path), now.get(path)];
      if (before === after) continue;
      this.trail.push(`${this.step}   ${path} is ${show(after)}`);
      if (path.endsWith('/')) continue;
      if (effects.has(path) && effects.get(path) === after) this.#disturb(actor, path);
      else if (
        this.#isMovedAlong(actor, sourceOf(path), path, after) ||
        this.#isUpload(actor, path, before, after, effects)
      ) {
        along.add(path);
      } else if (!this.#isKept(path, before, after)) {
        this.problem(`${path} is ${show(after)}, and was ${show(before)}: ${this.#known(path)}`);
      }
    }
    if (ok && required) {
      for (const [path, text] of effects) {
        if (now.get(path) !== text && !along.has(path))
          this.problem(`answered, and ${path} is ${show(now.get(path))}, not ${show(text)}`);
      }
    }
    this.tree = now;
    for (const side of this.sides)
      this.#settleLocals(side, clean, side === this.taken.side ? NONE.files : this.taken.files);
  }

  /** Has the other host brought to the old name what it had, in the moment before it was renamed? */
  #isMovedAlong(actor: Side | undefined, from: string | undefined, to: string, after: string | undefined): boolean {
    if (after === undefined || from === undefined) return false;
    const renamed = actor?.locals.find((local) => local.path === to);
    // What was written here has lost while its rename waited for that: it is theirs that was renamed.
    if (renamed?.disturbed === true && after === this.tree.get(from)) {
      this.#disturb(actor, from);
      this.#disturb(actor, to);
      return true;
    }
    const other = this.sides.find((side) => side !== actor);
    const brought = other?.locals.find((local) => local.path === from && local.versions.has(after));
    if (brought === undefined) return false;
    brought.base = after;
    brought.passed = after;
    this.#disturb(actor, from);
    this.#disturb(actor, to);
    if (renamed !== undefined && !renamed.dirty) renamed.base = after;
    return true;
  }

  #known(path: string): string {
    const known = this.sides.flatMap((side) =>
      side.locals
        .filter((local) => local.path !== undefined && path.startsWith(local.path))
        .map(({ dirty, bytes, versions, base, disturbed }) => {
          const states = [...versions.keys()].map(show);
          return `${side.name} ${dirty ? 'dirty' : 'clean'} ${show(bytes)} [${states}] over ${show(base)} ${disturbed}`;
        }),
    );
    return known.join('; ');
  }

  #disturb(actor: Side | undefined, path: string): void {
    for (const side of this.sides) {
      if (side === actor) continue;
      for (const local of side.locals) {
        if (local.path === path || (local.path !== undefined && isWithin(local.path, path))) local.disturbed = true;
      }
    }
  }

  /** Has a host brought there what it had, in place of what it knew? */
  #isUpload(
    actor: Side | undefined,
    path: string,
    before: string | undefined,
    after: string | undefined,
    effects: Effects['files'],
  ): boolean {
    if (after === undefined) return false;
    // Where both have the same bytes it is the one's that was asked: two new files are both empty.
    const sides = [...this.sides].sort((one, other) => Number(other === actor) - Number(one === actor));
    for (const side of sides) {
      for (const local of side.locals) {
        const isCut = local.cutAt === this.step && local.former.at(-1) === path;
        if ((local.path !== path && !isCut) || !local.versions.has(after)) continue;
        const isOwn = before !== undefined && local.versions.has(before);
        const isMoved = effects.has(path) && effects.get(path) === local.base;
        // Both at once: the other one's was there for a moment.
        const isNext = this.sides.some((one) => one !== side && this.#hadThere(one, path, local.base));
        const isBase = before === local.base || (local.orBase !== undefined && before === local.orBase.text);
        if (!isBase && !isOwn && !isMoved && !isNext) continue;
        const theirs = this.sides.filter((one) => one !== side);
        for (const text of [local.base, local.orBase?.text]) {
          if (text === undefined) continue;
          for (const one of theirs.flatMap((other) => this.#locals(other, path, text))) one.passed = text;
        }
        const others = theirs.flatMap((one) => this.#locals(one, path, after));
        // Whose it was cannot be told.
        if (others.length > 0) this.#disturb(undefined, path);
        // Of one whose answer was lost the host does not know that it is there.
        const heard = this.content(side, local);
        const isUnheard = heard?.dirty === true && this.scene.textOf(heard.base?.etag ?? '') !== after;
        local.orBase = others.length > 0 || isUnheard ? { text: local.base } : undefined;
        for (const one of others) one.orBase = { text: after };
        // What has taken its place takes the place of that.
        if (isCut) for (const one of side.locals) if (one.path === path && one.base === local.base) one.base = after;
        local.base = after;
        // What was written before has gone with it, if somebody takes it away.
        local.mask = after === local.bytes ? '' : (local.versions.get(after) ?? local.mask);
        this.#disturb(side, path);
        return true;
      }
    }
    return false;
  }

  #hadThere(side: Side, path: string, text: string | undefined): boolean {
    return text !== undefined && this.#locals(side, path, text).length > 0;
  }

  #locals(side: Side, path: string, text: string): readonly Local[] {
    return side.locals.filter((one) => one.path === path && one.versions.has(text));
  }

  #isKept(path: string, before: string | undefined, after: string | undefined): boolean {
    const cut = path.lastIndexOf('.conflict-');
    if (cut < 0 || before !== undefined || after === undefined) return false;
    const source = path.slice(0, cut);
    const side = this.sides.find(({ name }) => path.slice(cut).startsWith(`.conflict-host-${name}-`));
    const all = [...(side?.locals ?? []), ...(side?.gone ?? [])];
    const had = all.filter((local) => local.path === source || local.former.includes(source));
    const ofLatest = had.filter(({ bytes, mask }) => isSameButForGaps(after, bytes, mask));
    // Of files that have the same bytes and had the same name it is one that waits, and has the name still.
    const rank = (local: Local): number =>
      4 * Number(local.dirty) + 2 * Number(!local.kept) + Number(local.path === source);
    const [latest] = ofLatest.sort((one, other) => rank(other) - rank(one));
    if (latest !== undefined) {
      latest.kept = true;
      this.count(after === latest.bytes ? 'conflicts' : 'conflicts in part');
      return true;
    }
    const isEarlier = had.some(({ versions }) => [...versions.keys()].some((one) => isSameButForGaps(after, one, '')));
    if (isEarlier) this.count('conflicts in part');
    return isEarlier;
  }

  /** What is clean now must be in the bucket, or beside what is. */
  #settleLocals(side: Side, clean: ReadonlySet<Local>, others: Effects['files']): void {
    for (const local of side.locals) {
      if (local.dirty && clean.has(local)) {
        const stored = local.path === undefined ? local.bytes : this.tree.get(local.path);
        // It was there for a moment, or was seen there, and the other host has replaced or removed it since.
        const isReplaced = local.passed === local.bytes || local.base === local.bytes;
        const isTaken = isReplaced || (local.path !== undefined && others.has(local.path));
        this.trail.push(`${this.step}   ${side.name} has brought ${local.path} ${show(local.bytes)} ${show(stored)}`);
        if (stored !== local.bytes && !local.kept && !isTaken) {
          this.problem(`${side.name} has ${local.path} no more: ${show(local.bytes)}; it is ${show(stored)}`);
        }
        local.dirty = false;
        local.versions = new Map();
        local.base = stored;
        local.orBase = undefined;
        local.passed = undefined;
        if (local.kept) local.disturbed = true;
        if (local.kept && local.handles.length > 0) local.untold = stored === local.bytes ? 'may' : 'must';
      }
    }
    const isHere = ({ dirty, handles }: Local): boolean => dirty || handles.length > 0;
    side.gone = [...side.gone, ...side.locals.filter((one) => !isHere(one) && one.path === undefined)].slice(-4);
    side.locals = side.locals.filter(isHere);
  }

  async end(): Promise<void> {
    this.scene.fine();
    await this.scene.world.end();
  }
}
