import type { Context } from '../shared/context.ts';
import type { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { Logger } from '../shared/log.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { Unattended } from '../shared/unattended.ts';
import type { BackendSet } from './backends/backend-set.ts';
import type { VolumeState } from './state.ts';

/** What the driver is put together from, as it needs it. */

/** The kernel's mount tables. Reading them never hangs. */
export interface MountTables {
  /** What the plugin itself sees at `target`. */
  at(target: string): { readonly source: string; readonly device: string } | undefined;
  /**
   * Who has a file system mounted beside the plugin and the engine, in words. Throws when it cannot be told: then
   * everything counts as used. `within`: only what was mounted from this source, or from below it.
   */
  users(device: string, within?: string): readonly string[];
}

/** The folders that volumes are mounted on, and what protects them while nothing is mounted there. */
export interface MountFolders {
  target(volume: string): string;
  /** Makes the folder, empty, in which nobody can write as long as nothing is mounted on it. */
  prepare(volume: string): Promise<void>;
  /** Takes the folder away; succeeds when there is none. */
  remove(volume: string): Promise<void>;
}

export interface DriverDeps {
  readonly store: StateStore<VolumeState>;
  readonly backends: BackendSet;
  readonly locks: KeyedMutex;
  readonly unattended: Unattended;
  readonly tables: MountTables;
  readonly folders: MountFolders;
  readonly log: Logger;
  /** Ends with the plugin. */
  readonly life: Context;
  /** The kernel's boot id. */
  readonly boot: string;
  /** `-o type=` when it is left out. */
  readonly usualType: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly windows: Windows;
}

/** How long things are left alone, in milliseconds. */
export interface Windows {
  /** What is mounted and held by nobody: whoever gave up waiting for it may come back. */
  readonly idleMs: number;
  /** A hold that no process seems to have: a container that is being started has nothing mounted yet. */
  readonly staleMs: number;
  /** The longest wait for an answer about an unknown name: Docker asks for each new volume of any driver. */
  readonly findMs: number;
}

export const WINDOWS: Windows = { idleMs: 120_000, staleMs: 120_000, findMs: 8_000 };
