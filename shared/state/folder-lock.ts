import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, rename, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';

const NAME = 'lock';
const ANSWER_MS = 1_000;
const SETTLE_MS = 50;

/**
 * Keeps a folder to one process. The lock is a listening unix socket: the kernel closes it when its process dies in
 * whatever way, so that a lock left behind by kill -9 is told from a live one by connecting to it. Process ids would
 * not do: in a managed plugin every process has the same one.
 */
export class FolderLock {
  readonly #folder: string;
  readonly #server: Server;
  readonly #directory: FileHandle;
  readonly #inode: number;

  private constructor(folder: string, server: Server, directory: FileHandle, inode: number) {
    this.#folder = folder;
    this.#server = server;
    this.#directory = directory;
    this.#inode = inode;
  }

  /** Throws STATE_LOCKED when a live process has the folder. */
  static async take(folder: string): Promise<FolderLock> {
    // Socket paths are limited to 107 bytes; this one is short however long the folder's is.
    const directory = await open(folder, 'r');
    const at = (name: string): string => `/proc/self/fd/${directory.fd}/${name}`;
    const own = `${NAME}.${randomBytes(6).toString('hex')}`;
    let server: Server | undefined;
    try {
      server = await listen(at(own));
      const inode = (await stat(at(own))).ino;
      await claim(folder, at(NAME), at(own), inode);
      return new FolderLock(folder, server, directory, inode);
    } catch (error) {
      server?.close();
      await directory.close();
      throw error;
    }
  }

  /** Throws STATE_LOCKED when the lock was taken away, for instance because somebody deleted the file. */
  async verify(): Promise<void> {
    const found = await stat(`/proc/self/fd/${this.#directory.fd}/${NAME}`).catch(() => undefined);
    if (found?.ino !== this.#inode) throw new PluginError('STATE_LOCKED', { folder: this.#folder });
  }

  async release(): Promise<void> {
    try {
      await this.verify();
      await unlink(`/proc/self/fd/${this.#directory.fd}/${NAME}`);
    } catch (error) {
      // Somebody else's by now: not ours to remove.
      if (!(error instanceof PluginError)) throw error;
    } finally {
      this.#server.close();
      await this.#directory.close();
    }
  }
}

const listen = async (path: string): Promise<Server> => {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`process ${process.pid}`);
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(path, resolve);
  await promise;
  server.unref();
  return server;
};

/** Makes `own` the lock: at once when there is none, in place of a stale one otherwise. */
const claim = async (folder: string, lock: string, own: string, inode: number): Promise<void> => {
  try {
    await link(own, lock);
    await unlink(own);
    return;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') {
      await unlink(own);
      throw error;
    }
  }
  const owner = await holder(lock);
  if (owner !== undefined) {
    await unlink(own);
    throw new PluginError('STATE_LOCKED', { folder, owner });
  }
  await rename(own, lock);
  // Two that found the same stale lock both get here: the later rename wins, and the other one finds out.
  await wait(SETTLE_MS);
  if ((await stat(lock)).ino !== inode) throw new PluginError('STATE_LOCKED', { folder });
};

/** Who listens behind a lock, or undefined when it is stale. */
const holder = async (path: string): Promise<string | undefined> => {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const socket = connect(path);
  let answer = '';
  // It is connected, so it lives; a busy one may be too slow to say who it is.
  const timer = setTimeout(() => resolve('a busy process'), ANSWER_MS);
  socket.on('data', (data) => {
    answer = `${answer}${data}`.slice(0, 100);
  });
  socket.on('end', () => resolve(answer || 'an unknown process'));
  socket.on('error', (error) => {
    const code = codeOf(error);
    if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined);
    else if (code === 'ECONNRESET' || code === 'EAGAIN') resolve('a busy process');
    else reject(error);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
};
