import type { FolderTraits, TextFile } from './share-files.ts';
import type { ReadonlyBind } from './worker-binds.ts';

/** What a share's worker process is asked and answers, as messages between the two. All paths are relative to the share. */

export interface Operations {
  readonly makeFolder: { readonly args: { path: string; traits: FolderTraits }; readonly result: boolean };
  readonly hasFolder: { readonly args: { path: string }; readonly result: boolean };
  readonly readFile: { readonly args: { path: string }; readonly result: string | null };
  readonly readFiles: { readonly args: { folder: string; ending: string }; readonly result: readonly TextFile[] };
  readonly createFile: { readonly args: { path: string; content: string }; readonly result: boolean };
  readonly replaceFile: { readonly args: { path: string; content: string }; readonly result: null };
  readonly noteFile: { readonly args: { path: string; content: string }; readonly result: null };
  readonly removeFile: { readonly args: { path: string }; readonly result: null };
  readonly move: { readonly args: { from: string; to: string }; readonly result: boolean };
  readonly removeTree: { readonly args: { path: string }; readonly result: null };
  readonly names: { readonly args: { folder: string }; readonly result: readonly string[] };
  readonly room: { readonly args: { path: string }; readonly result: { readonly size: number; readonly free: number } };
  /** `asReadonly`: for a mount that is for reading only. */
  readonly bind: {
    readonly args: { path: string; target: string; asReadonly: ReadonlyBind | null };
    readonly result: null;
  };
  readonly unbind: { readonly args: { target: string }; readonly result: boolean };
}

export type Operation = keyof Operations;
export type Args<O extends Operation> = Operations[O]['args'];
export type Result<O extends Operation> = Operations[O]['result'];

export interface WorkerRequest {
  readonly id: number;
  readonly op: Operation;
  readonly args: Args<Operation>;
}

/** Nobody waits for a request any more: what takes long is ended. */
export interface WorkerCancel {
  readonly cancel: number;
}

export interface WorkerAnswer {
  /** 0: it is told that the worker runs, before it has touched the share. */
  readonly id: number;
  /** It goes on: something of it has just been done. */
  readonly alive?: true;
  readonly result?: Result<Operation>;
  /** A system call's, by its name: `EROFS`. */
  readonly error?: { readonly code: string; readonly text: string };
}
