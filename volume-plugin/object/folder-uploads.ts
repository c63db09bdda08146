import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import { byteOrder } from './byte-order.ts';
import { type Description, descriptionOf, type ObjectRecord } from './folder-file.ts';
import { type Add, type FolderShelf, openFile } from './folder-shelf.ts';
import { type Part, StoreError, type Unfinished } from './store.ts';

interface Begun extends Description {
  readonly key: string;
  readonly begun: number;
}

const BEGUN = 'begun.json';

/** Uploads in parts of a bucket: a folder for each one, a file for each part. */
export class FolderUploads {
  readonly #shelf: FolderShelf;
  readonly #folder: string;

  constructor(shelf: FolderShelf) {
    this.#shelf = shelf;
    this.#folder = join(shelf.root, 'uploads');
  }

  async begin(key: string, object: Description): Promise<string> {
    await this.#shelf.mustBe();
    const id = randomBytes(12).toString('hex');
    const begun: Begun = { key, begun: Date.now(), ...descriptionOf(object) };
    await mkdir(join(this.#folder, `${id}.new`), { mode: 0o700 });
    await writeFile(join(this.#folder, `${id}.new`, BEGUN), JSON.stringify(begun), { mode: 0o600 });
    await rename(join(this.#folder, `${id}.new`), join(this.#folder, id));
    await this.#shelf.syncFolder(this.#folder);
    return id;
  }

  async part(
    key: string,
    id: string,
    number: number,
    { size, etag }: { readonly size: number; readonly etag: string },
    body: (add: Add) => Promise<void>,
  ): Promise<Part> {
    await this.#begun(key, id);
    if (!Number.isInteger(number) || number < 1 || number > 10_000) {
      throw new StoreError('INVALID', `there is no part ${number}: 1 to 10000`, { key });
    }
    const file = await this.#shelf.write({ size, etag, modified: Date.now(), meta: {} }, body);
    try {
      await rename(file, join(this.#folder, id, String(number)));
    } catch (error) {
      await rm(file, { force: true });
      throw codeOf(error) === 'ENOENT' ? unknown(key, id) : error;
    }
    await this.#shelf.syncFolder(join(this.#folder, id));
    return { number, etag, size };
  }

  /** The whole object as a file that is nothing yet. */
  async join(
    key: string,
    id: string,
    parts: readonly Part[],
    partMin: number,
  ): Promise<{ readonly file: string; readonly record: ObjectRecord }> {
    const begun = await this.#begun(key, id);
    const invalid = (text: string): StoreError => new StoreError('INVALID', `${key}: ${text}`, { key });
    if (parts.length === 0) throw invalid('no parts');
    const hash = createHash('md5');
    let size = 0;
    for (const [i, part] of parts.entries()) {
      if (part.number <= (parts[i - 1]?.number ?? 0)) throw invalid('parts are not in their order');
      const file = await openFile(join(this.#folder, id, String(part.number)));
      await file?.close();
      if (file?.record.etag !== part.etag) throw invalid(`part ${part.number} is not the one that was uploaded`);
      if (file.record.size < partMin && i < parts.length - 1) throw invalid(`part ${part.number} is too small`);
      hash.update(part.etag, 'hex');
      size += file.record.size;
    }
    const record: ObjectRecord = {
      ...{ size, etag: `${hash.digest('hex')}-${parts.length}`, modified: Date.now() },
      ...descriptionOf(begun),
    };
    const file = await this.#shelf.write(record, async (add) => {
      for (const { number } of parts) {
        const part = await openFile(join(this.#folder, id, String(number)));
        if (part === undefined) throw unknown(key, id);
        await part.pass(0, part.record.size, (bytes) => add([bytes])).finally(part.close);
      }
    });
    return { file, record };
  }

  async drop(id: string): Promise<void> {
    if (!/^[0-9a-f]{24}$/.test(id)) return;
    await rm(join(this.#folder, id), { recursive: true, force: true });
  }

  async list(prefix: string): Promise<readonly Unfinished[]> {
    await this.#shelf.mustBe();
    const found: Unfinished[] = [];
    for (const id of await readdir(this.#folder)) {
      const known = id.endsWith('.new') ? undefined : await this.#find(id);
      if (known?.key.startsWith(prefix)) found.push({ key: known.key, id, begun: known.begun });
    }
    return found.sort((a, b) => byteOrder(a.key, b.key) || a.begun - b.begun);
  }

  async #begun(key: string, id: string): Promise<Begun> {
    const found = /^[0-9a-f]{24}$/.test(id) ? await this.#find(id) : undefined;
    if (found === undefined) await this.#shelf.mustBe();
    if (found?.key !== key) throw unknown(key, id);
    return found;
  }

  async #find(id: string): Promise<Begun | undefined> {
    try {
      const begun: Begun = JSON.parse(await readFile(join(this.#folder, id, BEGUN), 'utf8'));
      return begun;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

const unknown = (key: string, id: string): StoreError =>
  new StoreError('NOT_FOUND', `there is no upload ${id} of ${key}`, { key });
