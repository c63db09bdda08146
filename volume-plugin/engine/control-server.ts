import { open as openFolder, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
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

/** What the driver can ask an engine. */
export interface Controlled {
  status(): EngineStatus;
  /** Everything is brought to the store; `left` is told now and then. */
  drain(left: (left: Left) => void): Promise<void>;
  /** Ends the engine in good order. */
  end(): void;
}

export interface ControlServer {
  close(): Promise<void>;
}

/** Somebody else serves the folder. */
export class FolderTaken extends Error {
  override readonly name = 'FolderTaken';
}

const isServed = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error) => {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });

/**
 * Listens for the driver on the folder's socket. What an engine that died has left of it is replaced.
 * @throws FolderTaken when an engine that lives has the folder.
 */
export const serveControl = async (folder: string, engine: Controlled): Promise<ControlServer> => {
  // A socket's path has 107 bytes at most; this one is short however long the folder's is.
  const directory = await openFolder(folder, 'r');
  const path = `/proc/self/fd/${directory.fd}/${CONTROL_SOCKET}`;
  if (await isServed(path)) {
    await directory.close();
    throw new FolderTaken(`an engine that lives has ${folder}`);
  }
  await rm(path, { force: true });
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    attend(socket, engine);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return {
    close: async () => {
      server.close();
      for (const socket of open) socket.destroy();
      await rm(path, { force: true });
      await directory.close();
    },
  };
};

const attend = (socket: Socket, engine: Controlled): void => {
  const answer = (message: ControlAnswer): void => {
    if (socket.writable) socket.write(writeMessage(message));
  };
  const act = async (id: number, what: ControlAct): Promise<void> => {
    if (what === 'status') answer({ id, status: engine.status() });
    else if (what === 'end') engine.end();
    else {
      await engine.drain((left) => answer({ id, left }));
      answer({ id, done: true });
    }
  };
  socket.setEncoding('utf8');
  socket.unref();
  socket.on('error', () => socket.destroy());
  socket.on(
    'data',
    lineReader((line) => {
      const message = readMessage(line);
      const id = Number(message?.['id']);
      const what = message?.['act'];
      if (what !== 'status' && what !== 'drain' && what !== 'end') {
        answer({ id, error: 'there is no such request' });
        return;
      }
      act(id, what).catch((error: unknown) => {
        answer({ id, error: error instanceof Error ? error.message : String(error) });
      });
    }),
  );
};
