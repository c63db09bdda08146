import type { DriverDeps } from './parts.ts';
import { referencesOf } from './references.ts';

/**
 * Lets the back-end tell other hosts how many containers have a volume here: those that hold it, `docker cp` with one of
 * them not counted again. Waits for nothing.
 */
export function tellHolds({ store, backends }: Pick<DriverDeps, 'store' | 'backends'>, name: string): void {
  const volume = store.get('volumes', name);
  if (volume !== undefined) backends.all.get(volume.type)?.tellHolds?.(volume, referencesOf(store, name).length);
}
