/** A host with the volume plugin on a real engine, and what can be asked of both. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../../../bin/cli/client.ts';
import { run, until } from '../../rig/command.ts';
import type { Host } from '../../rig/host.ts';
import { InstalledPlugin } from '../../rig/plugin.ts';
import { pluginFolder } from './plugin-folder.ts';

/** The plugin's name: by it `-d cloudvol` finds it. */
export const NAME = 'cloudvol';

export interface VolumeAnswer {
  readonly Volume: {
    readonly Path: string;
    readonly Status: Readonly<Record<string, unknown>>;
    readonly References: readonly { readonly Id: string; readonly Count: number }[];
  };
}

export class VolumeHost {
  readonly host: Host;
  readonly plugin: InstalledPlugin;

  constructor(host: Host, plugin: InstalledPlugin) {
    this.host = host;
    this.plugin = plugin;
  }

  /** Installs and enables the plugin as it ships, with these settings. */
  static async install(host: Host, env: Readonly<Record<string, string>> = {}): Promise<VolumeHost> {
    const folder = await pluginFolder('volume');
    return new VolumeHost(host, await InstalledPlugin.install(host, folder, { name: NAME, env }));
  }

  /** `docker …`, which must succeed. Its output without the last newline. */
  must(...args: string[]): Promise<string> {
    return this.host.dockerMust(args);
  }

  /** What the `drayage volume` command asks. */
  ask(method: string, body: object, timeoutMs = 60_000): Promise<Readonly<Record<string, unknown>>> {
    return ask(join(this.host.stateFolder, 'volume/admin.sock'), `/Drayage.${method}`, body, timeoutMs);
  }

  async volume(name: string): Promise<VolumeAnswer['Volume']> {
    return ((await this.ask('Volume', { Volume: name }, 10_000)) as unknown as VolumeAnswer).Volume;
  }

  /** How often Docker holds it. */
  async holds(name: string): Promise<number> {
    return (await this.volume(name)).References.reduce((sum, { Count }) => sum + Count, 0);
  }

  /** Loop devices of this host's volumes. */
  async loops(): Promise<string[]> {
    const disks = join(this.host.stateFolder, 'loop');
    const files = readdirSync(disks).filter((name) => name.endsWith('.img'));
    const found = files.map(async (file) => (await run(['losetup', '-j', join(disks, file)])).stdout.trim());
    return (await Promise.all(found)).filter((line) => line !== '');
  }

  /** Resolves when the plugin, which was started anew, can be asked for a volume: it answers Docker a moment earlier. */
  async untilAsked(name: string): Promise<void> {
    const answers = async (): Promise<boolean> =>
      await this.volume(name).then(
        () => true,
        () => false,
      );
    await until(`the plugin of ${this.host.name} to answer for ${name}`, answers);
  }

  /** Resolves when nothing of the volume is left on this host. */
  async untilGone(name: string): Promise<void> {
    await until(`${name} to leave`, async () => (await this.volume(name)).Status['state'] === 'available');
  }

  async untilRunning(container: string): Promise<void> {
    await until(`${container} runs`, async () => {
      const { stdout } = await this.host.docker(['inspect', '-f', '{{.State.Running}}', container]);
      return stdout.trim() === 'true';
    });
  }
}
