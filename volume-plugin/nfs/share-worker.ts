import { codeOf } from '../../shared/error-code.ts';
import {
  createFile,
  hasFolder,
  makeFolder,
  move,
  names,
  noteFile,
  readFile,
  readFiles,
  removeFile,
  replaceFile,
  room,
} from './worker-files.ts';
import { type Removal, removeTree } from './worker-trees.ts';
import type { Args, Operation, Result, WorkerAnswer, WorkerCancel, WorkerRequest } from './worker-wire.ts';

/**
 * The program of a share's worker: it alone touches the files of one share, whose root is its argument. It is killed when
 * the server does not let it go on, and ends by itself with the plugin. It imports little, for it is started often.
 */

/** How often it says that a request goes on, in milliseconds. */
const ALIVE_MS = 500;

/** Errors of servers that Node has no names for, by the kernel's numbers: errno(3). */
const NAMES: Readonly<Record<number, string>> = { 116: 'ESTALE', 121: 'EREMOTEIO', 122: 'EDQUOT' };

const nameOf = (error: unknown): string => {
  const errno = error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : 0;
  return NAMES[errno] ?? codeOf(error) ?? 'UNKNOWN';
};

/**
 * What another host has replaced or removed between our looking it up and our using it is looked up anew; what changes
 * something is done once. A share that its server has taken away stays so.
 */
const LOOKS: readonly Operation[] = ['hasFolder', 'readFile', 'readFiles', 'names', 'room', 'bind'];
const TRIES = 3;

const whileStale = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === TRIES || nameOf(error) !== 'ESTALE') throw error;
    }
  }
};

type Doings = {
  readonly [O in Operation]: (root: string, args: Args<O>, removal: Removal) => Promise<Result<O>>;
};

const nothing = async (work: Promise<void>): Promise<null> => {
  await work;
  return null;
};

const doings: Doings = {
  makeFolder: (root, { path, traits }) => makeFolder(root, path, traits),
  hasFolder: (root, { path }) => hasFolder(root, path),
  readFile: async (root, { path }) => (await readFile(root, path)) ?? null,
  readFiles: (root, { folder, ending }) => readFiles(root, folder, ending),
  createFile: (root, { path, content }) => createFile(root, path, content),
  replaceFile: (root, { path, content }) => nothing(replaceFile(root, path, content)),
  noteFile: (root, { path, content }) => nothing(noteFile(root, path, content)),
  removeFile: (root, { path }) => nothing(removeFile(root, path)),
  move: (root, { from, to }) => move(root, from, to),
  removeTree: (root, { path }, removal) => nothing(removeTree(root, path, removal)),
  names: (root, { folder }) => names(root, folder),
  room: (root, { path }) => room(root, path),
  // Loaded when it is needed: it brings the system calls along.
  bind: async (root, { path, target, asReadonly }, { signal }) => {
    const { bindFolder } = await import('./worker-binds.ts');
    return await nothing(bindFolder(root, path, target, asReadonly, signal));
  },
  unbind: async (_root, { target }) => (await import('./worker-binds.ts')).unbindFolder(target),
};

const answer = (message: WorkerAnswer): void => {
  // The plugin may have ended meanwhile.
  if (process.connected) process.send?.(message);
};

function run(root: string): void {
  process.umask(0);
  const underWay = new Map<number, AbortController>();
  const serve = async <O extends Operation>(id: number, op: O, args: Args<O>): Promise<void> => {
    const controller = new AbortController();
    underWay.set(id, controller);
    let told = performance.now();
    const alive = (): void => {
      if (performance.now() - told < ALIVE_MS) return;
      told = performance.now();
      answer({ id, alive: true });
    };
    try {
      const work = () => doings[op](root, args, { alive, signal: controller.signal });
      answer({ id, result: await (LOOKS.includes(op) ? whileStale(work) : work()) });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      answer({ id, error: { code: nameOf(error), text } });
    } finally {
      underWay.delete(id);
    }
  };
  process.on('message', (message: WorkerRequest | WorkerCancel) => {
    if ('cancel' in message) underWay.get(message.cancel)?.abort();
    else void serve(message.id, message.op, message.args);
  });
  // What it was doing is cut off: the plugin is gone, or wants it no more.
  process.on('disconnect', () => process.exit(0));
  answer({ id: 0 });
}

run(process.argv[2] ?? '');
