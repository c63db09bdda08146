import type { Logger } from '../../shared/log.ts';
import type { Settings } from '../options.ts';
import type { Backend } from './backend.ts';

export interface BackendParts {
  readonly settings: Settings;
  /** Of the plugin's own, on the host: what a back-end keeps goes into a folder of its type below. */
  readonly folder: string;
  readonly log: Logger;
}

/** The kinds of volumes that this plugin offers with these settings. They are not started yet. */
export async function openBackends(_parts: BackendParts): Promise<readonly Backend[]> {
  return [];
}
