/** Copies programs and libraries of an unpacked system into a root file system, with all that the loader needs for them. */
import { lstat, mkdir, readdir, readFile, realpath, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { copyStripped, elfNeeds } from './elf.ts';

/** Copies from one unpacked system (`from`) to one root file system (`to`), in which `/lib` is a link to `usr/lib`. */
export class LibraryCopier {
  readonly #from: string;
  readonly #to: string;
  /** Soname → path below `from`. */
  readonly #known: ReadonlyMap<string, string>;
  readonly #done = new Set<string>();

  private constructor(from: string, to: string, known: ReadonlyMap<string, string>) {
    this.#from = from;
    this.#to = to;
    this.#known = known;
  }

  static async open(from: string, to: string): Promise<LibraryCopier> {
    const known = new Map<string, string>();
    for (const path of await readdir(from, { recursive: true })) {
      // Debian's folder of the architecture, /usr/lib/x86_64-linux-gnu: the loader looks there by default.
      if (/^(usr\/)?lib\/[^/]+-linux-[^/]+\/[^/]+\.so(\.\d+)*$/.test(path)) known.set(basename(path), path);
    }
    return new LibraryCopier(await realpath(from), to, known);
  }

  /** Copies one file of the unpacked system to the same path, and then what it needs; a link with what it leads to. */
  async copy(path: string): Promise<void> {
    const source = join(this.#from, path);
    const target = join(this.#to, merged(path));
    if (this.#done.has(target)) return;
    this.#done.add(target);
    await mkdir(dirname(target), { recursive: true });
    if ((await lstat(source)).isSymbolicLink()) {
      const destination = relative(this.#from, await realpath(source));
      if (destination.startsWith('..')) throw new Error(`${path} is a link out of the unpacked packages`);
      await this.copy(destination);
      await symlink(relative(dirname(target), join(this.#to, merged(destination))), target);
      return;
    }
    await copyStripped(source, target, 0o755);
    await this.addNeedsOf(target);
  }

  /** Copies what an ELF file needs, wherever that file comes from. */
  async addNeedsOf(file: string): Promise<void> {
    const { interpreter, needed } = elfNeeds(await readFile(file), file);
    for (const soname of needed) await this.copy(this.#find(soname, file));
    if (interpreter !== undefined) await this.#addLoader(interpreter, file);
  }

  #find(soname: string, file: string): string {
    const path = this.#known.get(soname);
    if (path === undefined) throw new Error(`${file} needs ${soname}, which is in none of the Debian packages`);
    return path;
  }

  /** The kernel starts the loader by its path (`/lib64/…`), which is a link to the library folder. */
  async #addLoader(interpreter: string, file: string): Promise<void> {
    const path = this.#find(basename(interpreter), file);
    await this.copy(path);
    const link = join(this.#to, merged(interpreter.slice(1)));
    if (this.#done.has(link)) return;
    this.#done.add(link);
    await mkdir(dirname(link), { recursive: true });
    await symlink(relative(dirname(link), join(this.#to, merged(path))), link);
  }
}

/** Debian 12 unpacks to /lib what Debian 13 has in /usr/lib: in the root file system it is always /usr. */
function merged(path: string): string {
  return path.replace(/^(bin|sbin|lib|lib64)\//, 'usr/$1/');
}
