import { type FileHandle, open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { Context } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import {
  CONTROL_SOCKET,
  type ControlAct,
  type ControlAnswer,
  type EngineStatus,
  type Left,
  lineReader,
  readMessage,
  writeMessage,
} from './wire.ts';

/** No engine listens in the folder, or it ended before it had answered. */
export class EngineAway extends Error {
  override readonly name = 'EngineAway';
}

const openSocket = async (folder: string): Promise<{ socket: Socket; directory: FileHandle }> => {
  const directory = await open(folder, 'r').catch((error: unknown) => {
    throw codeOf(error) === 'ENOENT' ? new EngineAway(`there is no folder ${folder}`) : error;
  });
  // A socket's path has 107 bytes at most; this one is short however long the folder's is.
  return { socket: connect(`/proc/self/fd/${directory.fd}/${CONTROL_SOCKET}`), directory };
};

/** Asks an engine for one thing. `left` is told how a drain goes on. Errors: EngineAway, the engine's own, the context's. */
const ask = async (
  folder: string,
  act: ControlAct,
  c: Context,
  left: (left: Left) => void = () => undefined,
): Promise<ControlAnswer> => {
  const { socket, directory } = await openSocket(folder);
  try {
    return await new Promise<ControlAnswer>((resolve, reject) => {
      const ended = (): void => reject(c.signal.reason);
      if (c.signal.aborted) ended();
      c.signal.addEventListener('abort', ended, { once: true });
      socket.on('close', () => {
        c.signal.removeEventListener('abort', ended);
        // Whoever was asked to end says nothing more.
        if (act === 'end') resolve({ id: 1, done: true });
        else reject(new EngineAway('the engine ended before it had answered'));
      });
      socket.on('error', (error) => reject(new EngineAway(error.message)));
      socket.setEncoding('utf8').on(
        'data',
        lineReader((line) => {
          const answer = readMessage(line) as ControlAnswer | undefined;
          if (answer?.left !== undefined) left(answer.left);
          else if (answer?.error !== undefined) reject(new Error(answer.error));
          else if (answer !== undefined) resolve(answer);
        }),
      );
      socket.write(writeMessage({ id: 1, act }));
    });
  } finally {
    socket.destroy();
    await directory.close();
  }
};

export const engineStatus = async (folder: string, c: Context): Promise<EngineStatus> =>
  (await ask(folder, 'status', c)).status ?? {};

/** Resolves when everything that was acknowledged is in the store. */
export const drainEngine = async (folder: string, left: (left: Left) => void, c: Context): Promise<void> => {
  await ask(folder, 'drain', c, left);
};

/** Resolves when the engine has ended. */
export const endEngine = async (folder: string, c: Context): Promise<void> => {
  await ask(folder, 'end', c);
};
