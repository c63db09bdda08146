/** What a rig is made of, fetched and made before anything is started. */
import { ensureImage, type ImageName } from './images.ts';
import {
  type EngineFiles,
  type EngineVersion,
  ensureEngine,
  ensureTools,
  type Iptables,
  iptablesFolder,
  type Tools,
} from './packages.ts';
import { ensureSeed } from './seed.ts';

/** The part of a rig's options that says what must be there. */
export interface WaresOptions {
  readonly hosts?: number;
  readonly engine?: EngineVersion | readonly EngineVersion[];
  readonly iptables?: Iptables;
  readonly images?: readonly ImageName[];
  readonly plugin?: string;
  readonly say?: (line: string) => void;
}

export const toStandardError = (line: string): void => {
  process.stderr.write(`rig: ${line}\n`);
};

export interface HostWares {
  readonly files: EngineFiles;
  readonly plugin: { readonly folder: string; readonly seed: string } | undefined;
}

/** All of it; `hosts` has one entry for each host. */
export interface Wares {
  readonly tools: Tools;
  readonly iptables: string;
  readonly images: readonly (readonly [ImageName, string])[];
  readonly hosts: readonly HostWares[];
}

/** Fetches what the rig runs, unless it is there. */
export async function fetchWares(options: WaresOptions): Promise<Wares> {
  const say = options.say ?? toStandardError;
  const chosen = options.engine ?? '28';
  const versions = Array.from({ length: options.hosts ?? 1 }, (_, i) =>
    typeof chosen === 'string' ? chosen : (chosen[i] ?? '28'),
  );
  const tools = await ensureTools(say);
  const iptables = await iptablesFolder(options.iptables ?? 'nft');
  const images = await Promise.all(
    (options.images ?? ['box']).map(async (name) => [name, await ensureImage(name, tools)] as const),
  );
  const byVersion = new Map<EngineVersion, HostWares>();
  await Promise.all(
    [...new Set(versions)].map(async (version) => {
      const files = await ensureEngine(version, tools, say);
      const folder = options.plugin;
      const plugin = folder && { folder, seed: await ensureSeed({ folder, files, iptables, tools, say }) };
      byVersion.set(version, { files, plugin: plugin || undefined });
    }),
  );
  return { tools, iptables, images, hosts: versions.flatMap((version) => byVersion.get(version) ?? []) };
}
