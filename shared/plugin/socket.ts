import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';

const ANSWER_MS = 1_000;

/** Does anybody accept connections on this socket? A process that is too busy to accept counts. */
const isAlive = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => settle(() => resolve(true)), ANSWER_MS);
    const settle = (done: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      done();
    };
    socket.on('connect', () => settle(() => resolve(true)));
    socket.on('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') settle(() => resolve(false));
      else if (code === 'EAGAIN') settle(() => resolve(true));
      else settle(() => reject(error));
    });
  });

/** Removes what a process that is gone left behind. Throws SOCKET_TAKEN when it is in use, or no socket at all. */
const clear = async (path: string): Promise<void> => {
  const found = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new PluginError('SOCKET_TAKEN', { path, reason: 'there is a file that is no socket' });
  if (await isAlive(path)) throw new PluginError('SOCKET_TAKEN', { path, reason: 'another process listens there' });
  await unlink(path);
};

/**
 * Listens on a unix socket that only its owner may use, in place of one that a dead process left. The folder is made
 * when it is missing. Errors: SOCKET_TAKEN.
 */
export const listenOn = async (server: Server, path: string): Promise<void> => {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await clear(path);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    await promise;
    await chmod(path, 0o600);
  } catch (error) {
    if (error instanceof PluginError) throw error;
    throw new PluginError('SOCKET_TAKEN', { path, reason: codeOf(error) ?? String(error) }, { cause: error });
  }
};
