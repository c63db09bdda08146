import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger as logger } from '../../../../shared/log.ts';
import type { Attributes, Caller, Entry, FileSystem, Kernel } from '../../../../volume-plugin/fuse/file-system.ts';
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import type { ObjectStore, StoreLimits } from '../../../../volume-plugin/object/store.ts';
import type { Contents } from '../../../../volume-plugin/objectfs/content.ts';
import { type ContentOptions, openContents } from '../../../../volume-plugin/objectfs/content-set.ts';
import { FileStateLog } from '../../../../volume-plugin/objectfs/file-state-log.ts';
import { Naming } from '../../../../volume-plugin/objectfs/naming.ts';
import { ObjectFileSystem } from '../../../../volume-plugin/objectfs/object-file-system.ts';
import type { SpaceOptions, VolumeSemantics } from '../../../../volume-plugin/objectfs/space.ts';
import { type Disk, PlainContents } from './namespace-contents.ts';
import { Mortal, MortalLog, storeOf } from './namespace-mortal.ts';

export const ROOT = 1;
export const PREFIX = 'vol/';
const O_RDWR = 2;
const O_CREAT = 0o100;

export const context: Context = newContext(logger, Number.POSITIVE_INFINITY);

export interface HostOptions {
  readonly semantics?: Partial<VolumeSemantics>;
  readonly survived?: boolean;
  readonly prefix?: string;
  readonly adoptMs?: number;
  /** With the contents of the engine, instead of plain ones in memory. */
  readonly real?: boolean;
  /** How long a store that does not answer is waited for. */
  readonly retryMs?: number;
  /** Of the engine's contents. */
  readonly content?: ContentOptions;
}

/** In memory where there is such a folder: these tests are about deaths of the engine, not of the host. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Nanoseconds since the epoch, at which a clock begins that goes on by `later` alone. */
const FIRST_TIME = 1_764_000_000_000_000_000n;

const OLD_MS = 30 * 60_000;
let isSwept = false;

/** What runs that were killed have left goes with a later one. */
const sweep = (): void => {
  if (isSwept) return;
  isSwept = true;
  for (const name of readdirSync(SCRATCH).filter((one) => one.startsWith('namespace-'))) {
    const path = join(SCRATCH, name);
    const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - changed > OLD_MS) rmSync(path, { recursive: true, force: true });
  }
};

/** A bucket, and hosts that have a volume in it mounted. */
export class World {
  readonly context = context;
  readonly folder = mkdtempSync(join(SCRATCH, 'namespace-'));
  store: ObjectStore;
  readonly #disks = new Map<string, Disk>();
  readonly #hosts: Host[] = [];
  #removed: () => void = () => undefined;
  /** Milliseconds that clocks of hosts have been put forward: what was relied on is old. */
  ahead = 0;
  /** Set: time goes on by `later` alone, however slow the machine is. */
  stopped: number | undefined;

  constructor(limits: Partial<StoreLimits> = {}) {
    this.store = new FolderStore({ folder: this.folder, bucket: 'b', durable: false, limits });
  }

  static async make(limits: Partial<StoreLimits> = {}): Promise<World> {
    sweep();
    const world = new World(limits);
    const remove = (): void => rmSync(world.folder, { recursive: true, force: true });
    process.once('exit', remove);
    world.#removed = () => process.off('exit', remove);
    await world.store.createBucket(context);
    return world;
  }

  /** One that ends with the test. */
  static async of(t: { teardown(work: () => Promise<void>): void }, limits?: Partial<StoreLimits>): Promise<World> {
    const world = await World.make(limits);
    t.teardown(() => world.end());
    return world;
  }

  /** Puts something between the hosts that are made from now on and the store. */
  wrap(work: (store: ObjectStore) => ObjectStore): void {
    this.store = work(this.store);
  }

  later(ms = 2_000): void {
    this.ahead += ms;
  }

  async host(name = 'a', options: HostOptions = {}): Promise<Host> {
    const disk: Disk = this.#disks.get(name) ?? new Map();
    this.#disks.set(name, disk);
    const mortal = new Mortal();
    const calls = new Map<string, number>();
    const store = storeOf(this.store, mortal, calls);
    const log = new MortalLog(new FileStateLog(join(this.folder, `${name}.log`)), mortal);
    const folder = join(this.folder, `engine-${name}`);
    const contents =
      options.real === true
        ? await openContents({
            store,
            folder,
            log,
            logger,
            context,
            options: { reserve: 0, retryMs: options.retryMs ?? 5_000, ...options.content },
          })
        : new PlainContents(store, disk, context);
    const host = new Host(this, name, { store, log, contents, mortal, calls }, options);
    this.#hosts.push(host);
    await host.start();
    return host;
  }

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    let from: string | undefined;
    do {
      const page = await this.store.list('', from === undefined ? {} : { from }, context);
      keys.push(...page.objects.map(({ key }) => key));
      from = page.next;
    } while (from !== undefined);
    return keys;
  }

  /** Those that are the users' own. */
  async names(prefix = PREFIX): Promise<string[]> {
    return (await this.keys())
      .filter((key) => key.startsWith(prefix) && !key.startsWith(`${prefix}.drayage/`))
      .map((key) => key.slice(prefix.length));
  }

  async put(path: string, text = '', meta: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.store.put(PREFIX + path, [Buffer.from(text)], { meta }, context);
  }

  async text(path: string): Promise<string> {
    const { data } = await this.store.get(PREFIX + path, {}, context);
    return Buffer.concat(data).toString();
  }

  async end(): Promise<void> {
    for (const host of this.#hosts) await host.end();
    rmSync(this.folder, { recursive: true, force: true });
    this.#removed();
  }
}

export class Host {
  readonly fs: FileSystem;
  readonly mortal: Mortal;
  readonly calls: Map<string, number>;
  readonly contents: Contents;
  readonly told: string[] = [];
  readonly #name: string;
  #unique: bigint;
  #isEnded = false;

  constructor(
    world: World,
    name: string,
    parts: Pick<SpaceOptions, 'store' | 'log' | 'contents'> & { mortal: Mortal; calls: Map<string, number> },
    { semantics = {}, survived = false, prefix = PREFIX, adoptMs }: HostOptions,
  ) {
    const { mortal, calls, store, log, contents } = parts;
    this.#name = name;
    this.mortal = mortal;
    this.calls = calls;
    this.contents = contents;
    // Each life goes on counting, as the kernel does.
    this.#unique = BigInt(Math.trunc(performance.now() * 1_000)) * 2n;
    this.fs = new ObjectFileSystem({
      ...{ store, contents, log, logger, survived },
      naming: new Naming(prefix),
      host: { id: `id-${name}`, name: `host-${name}` },
      semantics: {
        ...{
          readonly: false,
          consistency: 'close-to-open',
          durability: 'server',
          attributes: 'listed',
          retryMs: 5_000,
        },
        defaults: { uid: 0, gid: 0, fileMode: 0o644, dirMode: 0o755 },
        ...semantics,
      },
      ...(adoptMs !== undefined && { adoptMs }),
      ms: () => (world.stopped ?? performance.now()) + world.ahead,
      ...(world.stopped !== undefined && { time: () => FIRST_TIME + BigInt(world.ahead) * 1_000_000n }),
    });
  }

  async start(): Promise<void> {
    const kernel: Kernel = {
      invalidate: (node) => void this.told.push(`invalidate ${node}`),
      invalidateName: (parent, name) => void this.told.push(`name ${parent} ${name}`),
    };
    await this.fs.start(kernel);
  }

  /** As kill -9 does: nothing of it goes on. */
  kill(): void {
    this.mortal.isDead = true;
    if (this.contents instanceof PlainContents) this.contents.isDead = true;
  }

  async end(): Promise<void> {
    if (this.#isEnded || this.mortal.isDead) return;
    this.#isEnded = true;
    await this.fs.close();
  }

  caller(more: Partial<Caller> = {}): Caller {
    this.#unique += 2n;
    return {
      ...{ uid: 0, gid: 0, pid: 1, unique: this.#unique, resent: false, signal: new AbortController().signal },
      ...more,
    };
  }

  set isFull(isFull: boolean) {
    this.mortal.isFull = isFull;
  }

  count(call: string): number {
    return this.calls.get(call) ?? 0;
  }

  async node(path: string): Promise<number> {
    let at = ROOT;
    for (const name of path.split('/').filter((one) => one !== '')) {
      at = (await this.fs.lookup(at, name, this.caller())).attributes.node;
    }
    return at;
  }

  async #parent(path: string): Promise<[number, string]> {
    const cut = path.lastIndexOf('/');
    return [await this.node(path.slice(0, Math.max(0, cut))), path.slice(cut + 1)];
  }

  async stat(path: string): Promise<Attributes> {
    const node = await this.node(path);
    return (await this.fs.getattr(node, undefined, this.caller())).attributes;
  }

  async exists(path: string): Promise<boolean> {
    return await this.node(path).then(
      () => true,
      (error: unknown) => {
        if (codeOf(error) === 'ENOENT') return false;
        throw error;
      },
    );
  }

  async mkdir(path: string, mode = 0o755, more: Partial<Caller> = {}): Promise<Entry> {
    const [parent, name] = await this.#parent(path);
    return await this.fs.mkdir(parent, name, mode, this.caller(more));
  }

  async rmdir(path: string): Promise<void> {
    const [parent, name] = await this.#parent(path);
    await this.fs.rmdir(parent, name, this.caller());
  }

  async unlink(path: string): Promise<void> {
    const [parent, name] = await this.#parent(path);
    await this.fs.unlink(parent, name, this.caller());
  }

  async rename(from: string, to: string, flags = 0): Promise<void> {
    const [parent, name] = await this.#parent(from);
    const [newParent, newName] = await this.#parent(to);
    await this.fs.rename(parent, name, newParent, newName, flags, this.caller());
  }

  async symlink(path: string, target: string): Promise<void> {
    const [parent, name] = await this.#parent(path);
    await this.fs.symlink(parent, name, target, this.caller());
  }

  async create(
    path: string,
    mode = 0o644,
    flags = 0,
    more: Partial<Caller> = {},
  ): Promise<{ node: number; handle: number }> {
    const [parent, name] = await this.#parent(path);
    // As the kernel does.
    await this.exists(path);
    const made = await this.fs.create(parent, name, mode, flags | O_CREAT | O_RDWR, this.caller(more));
    return { node: made.attributes.node, handle: made.handle };
  }

  async open(path: string, flags = O_RDWR): Promise<{ node: number; handle: number; keepCache: boolean }> {
    const node = await this.node(path);
    return { node, ...(await this.fs.open(node, flags, this.caller())) };
  }

  async close({ node, handle }: { node: number; handle: number }): Promise<void> {
    await this.fs.flush(node, handle, this.caller());
    await this.fs.release(node, handle, this.caller());
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    const opened = (await this.exists(path)) ? await this.open(path) : await this.create(path, mode);
    await this.fs.setattr(opened.node, { size: 0, handle: opened.handle }, this.caller());
    await this.writeOpen(opened, text);
    await this.close(opened);
  }

  async writeOpen({ node, handle }: { node: number; handle: number }, text: string, at = 0): Promise<void> {
    await this.fs.write(node, handle, at, Buffer.from(text), false, this.caller());
  }

  async readOpen({ node, handle }: { node: number; handle: number }, length = 1 << 20): Promise<string> {
    return Buffer.concat(await this.fs.read(node, handle, 0, length, this.caller())).toString();
  }

  async read(path: string): Promise<string> {
    const opened = await this.open(path, 0);
    try {
      return await this.readOpen(opened);
    } finally {
      await this.close(opened);
    }
  }

  /** Names as `ls` gets them, with the kernel's way of asking again behind the last cookie. */
  async list(path: string, plus = true, take = 50): Promise<string[]> {
    return (await this.entries(path, plus, take)).map(({ name }) => name);
  }

  async entries(path: string, plus = true, take = 50): Promise<{ name: string; entry?: Entry }[]> {
    const node = await this.node(path);
    const { handle } = await this.fs.opendir(node, this.caller());
    const all: { name: string; entry?: Entry }[] = [];
    let cookie = 0;
    for (;;) {
      const given = await this.fs.readdir(node, handle, cookie, plus, this.caller());
      for (const { entry } of given.slice(take)) if (entry !== undefined) this.fs.forget(entry.attributes.node, 1);
      const taken = given.slice(0, take);
      if (taken.length === 0) break;
      all.push(...taken.filter(({ name }) => name !== '.' && name !== '..'));
      cookie = taken.at(-1)?.cookie ?? cookie;
    }
    await this.fs.releasedir(node, handle, this.caller());
    return all;
  }

  get name(): string {
    return this.#name;
  }
}

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** The errno of what is refused. */
export const refused = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
  return 'nothing was refused';
};
