/** A volume of objects for the suites, on a store that is a folder of this machine. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { newContext } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import { openStore } from '../../volume-plugin/object/registry.ts';
import { ObjectMount, type ObjectMountOptions } from '../rig/object-mount.ts';

export class SuiteVolume {
  readonly #mount: ObjectMount;

  private constructor(mount: ObjectMount) {
    this.#mount = mount;
  }

  static async make(t: Test, options: Partial<ObjectMountOptions> = {}): Promise<SuiteVolume> {
    const bucket = mkdtempSync(path.join(tmpdir(), 'drayage-suite-bucket-'));
    t.teardown(() => rmSync(bucket, { recursive: true, force: true }));
    const store = { kind: 'folder', folder: bucket, bucket: 'b' } as const;
    const opened = openStore(store);
    await opened.createBucket(newContext(silentLogger, 10_000));
    await opened.close();
    const mount = await ObjectMount.make(t, { store, logLevel: 'warn', ...options });
    // Suites become others on the way.
    chmodSync(mount.base, 0o755);
    return new SuiteVolume(mount);
  }

  /** A new folder of it. */
  async folder(name: string): Promise<string> {
    const folder = this.#mount.path(name);
    await mkdir(folder);
    return folder;
  }

  /** Takes it off and mounts it anew; everything is in the store meanwhile. */
  async remount(): Promise<void> {
    await this.#mount.unmount();
    await this.#mount.start();
  }

  async killEngine(): Promise<void> {
    await this.#mount.killEngine();
  }

  /** The engine's warnings and errors. */
  log(): string {
    return this.#mount.log();
  }
}
