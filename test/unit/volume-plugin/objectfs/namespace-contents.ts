import type { Context } from '../../../../shared/context.ts';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import type { Base, Contents, FileContent, FileHome } from '../../../../volume-plugin/objectfs/content.ts';
import type { StateRecord } from '../../../../volume-plugin/objectfs/state-log.ts';

/** What a host's disk has of files that are not in the store: outlives the contents that are made over it. */
export type Disk = Map<number, { bytes: Buffer; base: Base | undefined }>;

/** Contents in memory, as simple as the contract allows: to show the namespace by itself. */
export class PlainContents implements Contents {
  readonly #store: ObjectStore;
  readonly #disk: Disk;
  readonly #c: Context;
  readonly #open = new Map<number, PlainContent>();
  isDead = false;

  constructor(store: ObjectStore, disk: Disk, c: Context) {
    this.#store = store;
    this.#disk = disk;
    this.#c = c;
  }

  get store(): ObjectStore {
    return this.#store;
  }

  get c(): Context {
    return this.#c;
  }

  of(home: FileHome, base: Base | undefined): FileContent {
    const known = this.#open.get(home.node);
    if (known !== undefined) return known;
    const content = new PlainContent(this, home, base);
    this.#open.set(home.node, content);
    if (base === undefined) content.make(Buffer.alloc(0));
    return content;
  }

  find(node: number): FileContent | undefined {
    return this.#open.get(node);
  }

  has(): boolean {
    return false;
  }

  offer(): void {
    // Nothing is kept.
  }

  keep(node: number, bytes: Buffer, base: Base | undefined): void {
    if (!this.isDead) this.#disk.set(node, { bytes, base });
  }

  forget(node: number): void {
    if (!this.isDead) this.#disk.delete(node);
  }

  end(node: number): void {
    this.#open.delete(node);
  }

  dirtyNodes(): readonly number[] {
    return [...this.#disk.keys()];
  }

  *records(): Iterable<StateRecord> {
    // The disk is what is remembered.
  }

  async recover(homeOf: (node: number) => FileHome | undefined): Promise<void> {
    for (const [node, { bytes, base }] of [...this.#disk]) {
      const home = homeOf(node);
      if (home === undefined) this.#disk.delete(node);
      else {
        const content = new PlainContent(this, home, base);
        content.make(bytes);
        this.#open.set(node, content);
      }
    }
  }

  async drain(): Promise<void> {
    for (const content of [...this.#open.values()]) if (content.dirty) await content.flush(this.#c);
  }

  status(): Readonly<Record<string, number>> {
    return { waiting: this.#disk.size };
  }

  async close(): Promise<void> {
    this.#open.clear();
  }
}

class PlainContent implements FileContent {
  readonly #all: PlainContents;
  readonly #home: FileHome;
  #base: Base | undefined;
  /** Undefined: what the base is. */
  #bytes: Buffer | undefined;
  #isDirty = false;
  #isReleased = false;
  #held = Promise.resolve();
  #flushing = Promise.resolve();

  constructor(all: PlainContents, home: FileHome, base: Base | undefined) {
    this.#all = all;
    this.#home = home;
    this.#base = base;
  }

  make(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#isDirty = true;
    this.#all.keep(this.#home.node, bytes, this.#base);
  }

  get size(): number {
    return this.#bytes?.length ?? this.#base?.size ?? 0;
  }

  get dirty(): boolean {
    return this.#isDirty;
  }

  get base(): Base | undefined {
    return this.#base;
  }

  async #load(): Promise<Buffer> {
    if (this.#bytes !== undefined) return this.#bytes;
    if (this.#base === undefined) return Buffer.alloc(0);
    const { data } = await this.#all.store.get(this.#base.key, { ifMatch: this.#base.etag }, this.#all.c);
    return Buffer.concat(data);
  }

  async read(offset: number, length: number): Promise<readonly Buffer[]> {
    return [(await this.#load()).subarray(offset, offset + length)];
  }

  async write(offset: number, data: Buffer): Promise<number> {
    const old = await this.#load();
    const bytes = Buffer.alloc(Math.max(old.length, offset + data.length));
    old.copy(bytes);
    data.copy(bytes, offset);
    this.make(bytes);
    return data.length;
  }

  async truncate(size: number): Promise<void> {
    const bytes = Buffer.alloc(size);
    (await this.#load()).copy(bytes);
    this.make(bytes);
  }

  async zero(offset: number, length: number, keepSize: boolean): Promise<void> {
    const size = keepSize ? Math.min(length, this.size - offset) : length;
    await this.write(offset, Buffer.alloc(size));
  }

  seek(offset: number, data: boolean): number | undefined {
    return data ? offset : undefined;
  }

  flush(c: Context): Promise<void> {
    this.#flushing = this.#flushing.then(
      () => this.#flush(c),
      () => this.#flush(c),
    );
    return this.#flushing;
  }

  async #flush(c: Context): Promise<void> {
    await this.#held;
    const key = this.#home.key();
    if (!this.#isDirty || key === undefined) return;
    const described = this.#home.description();
    const replaced = this.#base?.key === key ? this.#base.etag : this.#home.replaces();
    const condition = replaced === undefined ? { ifAbsent: true } : { ifMatch: replaced };
    const bytes = this.#bytes ?? Buffer.alloc(0);
    const facts = await this.#all.store.put(key, [bytes], { ...described, condition }, c);
    this.#base = { key, etag: facts.etag, size: facts.size };
    if (this.#bytes === bytes) {
      this.#isDirty = false;
      this.#all.forget(this.#home.node);
      if (this.#isReleased) this.#all.end(this.#home.node);
    }
    this.#home.stored(facts, described);
  }

  told(): void {
    // Nothing is kept beside anything here.
  }

  flushLater(): void {
    this.flush(this.#all.c).catch(() => undefined);
  }

  async sync(): Promise<void> {
    // The disk of the test forgets nothing.
  }

  rebase(base: Base | undefined): void {
    this.#base = base;
    this.#bytes = undefined;
  }

  moved(base: Base): void {
    this.#base = base;
    if (this.#isDirty && this.#bytes !== undefined) this.#all.keep(this.#home.node, this.#bytes, base);
  }

  async detach(copy: Base | undefined): Promise<() => void> {
    const [base, bytes] = [this.#base, this.#bytes];
    if (copy !== undefined) this.#base = copy;
    else this.#bytes = await this.#load();
    return () => {
      this.#base = base;
      if (!this.#isDirty) this.#bytes = bytes;
    };
  }

  local(): number | undefined {
    return undefined;
  }

  async landed(): Promise<undefined> {
    // What fails here has not been carried out.
  }

  async hold(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return resolve;
  }

  release(): void {
    this.#isReleased = true;
    if (this.#home.key() === undefined) this.#all.forget(this.#home.node);
    if (!this.#isDirty || this.#home.key() === undefined) this.#all.end(this.#home.node);
    else this.flushLater();
  }
}
