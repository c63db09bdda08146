import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../../../../shared/context.ts';
import { codeOf } from '../../../../shared/error-code.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import type {
  Bound,
  MountedShare,
  MountWish,
  ShareHealth,
  ShareMounts,
} from '../../../../volume-plugin/nfs/mounted-share.ts';
import type { Share } from '../../../../volume-plugin/nfs/share.ts';
import type { ShareFiles } from '../../../../volume-plugin/nfs/share-files.ts';
import * as worker from '../../../../volume-plugin/nfs/worker-files.ts';
import { removeTree } from '../../../../volume-plugin/nfs/worker-trees.ts';
import { run } from '../block/scratch.ts';

/** Servers whose shares are folders of this machine: real files and real bind mounts, and no network. */
export class LocalServers {
  readonly #folder: string;
  /** Ids of shares whose servers do not answer. */
  readonly silent = new Set<string>();
  /** Ids of shares that nobody can write to. */
  readonly readonly = new Set<string>();
  /** `host-1 10.0.0.5:/export`: for one host they do not. */
  readonly cut = new Set<string>();
  /** Other names of shares. */
  readonly aliases = new Map<string, string>();
  /** Called, and waited for, before each piece of work with files: `createFile .drayage/volumes/data.json`. */
  onFile: (what: string, host: string) => void | Promise<void> = () => undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the files of a share are; made when there is no such folder. */
  root(share: string): string {
    const root = join(this.#folder, (this.aliases.get(share) ?? share).replaceAll('/', '_'));
    mkdirSync(root, { recursive: true });
    return root;
  }

  check(share: string, host: string): void {
    if (this.isSilent(share, host)) throw new PluginError('SHARE_SILENT', { share });
  }

  isSilent(share: string, host: string): boolean {
    return this.silent.has(share) || this.cut.has(`${host} ${share}`);
  }
}

const CODES: Readonly<Record<string, 'SHARE_MISSING' | 'SHARE_READONLY' | 'SHARE_REFUSED'>> = {
  ENOENT: 'SHARE_MISSING',
  ENOTDIR: 'SHARE_MISSING',
  EROFS: 'SHARE_READONLY',
  EACCES: 'SHARE_REFUSED',
};

/** What a worker does, in this process. */
export const localFiles = (servers: LocalServers, share: string, host = 'host'): ShareFiles => {
  const root = servers.root(share);
  const io = async <T>(what: string, writes: boolean, work: () => Promise<T>): Promise<T> => {
    servers.check(share, host);
    await servers.onFile(what, host);
    try {
      if (writes && servers.readonly.has(share)) throw Object.assign(new Error('read-only'), { code: 'EROFS' });
      return await work();
    } catch (error) {
      if (error instanceof PluginError) throw error;
      const reason = codeOf(error) ?? String(error);
      const code = CODES[reason];
      if (code !== undefined) throw new PluginError(code, { share, reason });
      throw new PluginError('BACKEND_REFUSED', { provider: 'nfs', what, reason }, { cause: error });
    }
  };
  const reads = <T>(what: string, work: () => Promise<T>): Promise<T> => io(what, false, work);
  const writes = <T>(what: string, work: () => Promise<T>): Promise<T> => io(what, true, work);
  const removal = { alive: () => undefined, signal: new AbortController().signal };
  return {
    makeFolder: (path, traits) => writes(`makeFolder ${path}`, () => worker.makeFolder(root, path, traits)),
    hasFolder: (path) => reads(`hasFolder ${path}`, () => worker.hasFolder(root, path)),
    readFile: (path) => reads(`readFile ${path}`, () => worker.readFile(root, path)),
    readFiles: (path, ending) => reads(`readFiles ${path}`, () => worker.readFiles(root, path, ending)),
    createFile: (path, text) => writes(`createFile ${path}`, () => worker.createFile(root, path, text)),
    replaceFile: (path, text) => writes(`replaceFile ${path}`, () => worker.replaceFile(root, path, text)),
    noteFile: (path, text) => writes(`noteFile ${path}`, () => worker.noteFile(root, path, text)),
    removeFile: (path) => writes(`removeFile ${path}`, () => worker.removeFile(root, path)),
    move: (from, to) => writes(`move ${from} ${to}`, () => worker.move(root, from, to)),
    removeTree: (path) => writes(`removeTree ${path}`, () => removeTree(root, path, removal)),
    names: (path) => reads(`names ${path}`, () => worker.names(root, path)),
    room: (path) => reads(`room ${path}`, () => worker.room(root, path)),
  };
};

/** One host's mounts of such shares. */
export class LocalMounts implements ShareMounts {
  readonly servers: LocalServers;
  /** `10.0.0.5:/export {"options":{},…}`: what was mounted, in the order of its first mounting. */
  readonly mounted: string[] = [];
  readonly released: string[] = [];
  readonly #host: string;
  readonly #health = new Map<string, ShareHealth>();

  constructor(servers: LocalServers, host = 'host') {
    this.servers = servers;
    this.#host = host;
  }

  async ensure(share: Share, wish: MountWish, _c: Context): Promise<MountedShare> {
    this.servers.check(share.id, this.#host);
    const key = `${share.id} ${JSON.stringify(wish)}`;
    if (!this.mounted.includes(key)) this.mounted.push(key);
    this.#health.set(share.id, { answering: true, since: 0 });
    const version = wish.version ?? share.versions[0] ?? '4.2';
    const options = `vers=${version}`;
    const files = localFiles(this.servers, share.id, this.#host);
    return { share, version, options, source: 'local', device: '0:0', readonly: wish.readonly, files };
  }

  async bind({ share }: MountedShare, folder: string, target: string, readonly: boolean): Promise<Bound> {
    this.servers.check(share.id, this.#host);
    const present = mountAt(readMountTable(), target);
    if (present !== undefined) return { source: present.source, device: present.device };
    const from = join(this.servers.root(share.id), folder);
    if (!(await worker.hasFolder(this.servers.root(share.id), folder))) {
      throw new PluginError('SHARE_MISSING', { share: share.id, reason: `it has no folder /${folder}` });
    }
    run('mount', '--bind', from, target);
    if (readonly) run('mount', '-o', 'remount,bind,ro', target);
    const { source, device } = mountAt(readMountTable(), target) ?? { source: 'none', device: 'none' };
    return { source, device };
  }

  async unbind(target: string): Promise<void> {
    if (mountAt(readMountTable(), target) !== undefined) run('umount', target);
  }

  release(share: string): void {
    this.released.push(share);
  }

  health(share: string): ShareHealth | undefined {
    if (this.#health.has(share) && this.servers.isSilent(share, this.#host)) return { answering: false, since: 0 };
    return this.#health.get(share);
  }

  async close(): Promise<void> {
    return undefined;
  }
}
