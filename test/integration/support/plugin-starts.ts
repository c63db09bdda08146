/** How soon a plugin answers that is enabled, and how soon it ends, as its image costs it and not what else the machine does. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { PluginName } from '../../../plugin-configs/config.ts';
import { builtPlugin } from '../../rig/built.ts';
import { until } from '../../rig/command.ts';
import type { Host } from '../../rig/host.ts';
import type { InstalledPlugin } from '../../rig/plugin.ts';

/** Milliseconds on a machine that has nothing else to do. */
export interface Limits {
  /** From `docker plugin enable` to the first answer. */
  readonly reply: number;
  /** Of `docker plugin disable`. */
  readonly stop: number;
}

/** Other work on the machine can only make a start slower, so the best of several is the image's own time. */
const MIN_STARTS = 2;
const MAX_STARTS = 5;
/** So many starts of either are compared before a machine is taken for a slow one. */
const MIN_PAIRS = 4;
const MAX_PAIRS = 8;
/**
 * What engine, runc and Node may take of it: until a plugin answers that does nothing (bare-main.ts, in the same image). Where
 * even the best of its starts takes longer, the machine is slower by that much, and so may our own code be.
 */
const BARE_PART = 1 / 2;

class Starts {
  reply = Number.POSITIVE_INFINITY;
  stop = Number.POSITIVE_INFINITY;
  readonly plugin: InstalledPlugin;
  readonly #method: string;
  #isEnabled = false;

  /** `plugin` is disabled. */
  constructor(plugin: InstalledPlugin, method: string) {
    this.plugin = plugin;
    this.#method = method;
  }

  /** One more; it stays enabled. */
  async again(t: Test, what: string): Promise<void> {
    if (this.#isEnabled) {
      const { code, ms, stderr } = await this.plugin.disable();
      if (code !== 0) throw new Error(`${what}: ${stderr}`);
      this.stop = Math.min(this.stop, ms);
    }
    const started = performance.now();
    const enabling = this.plugin.enable();
    const replied = await until('the first reply', () => this.#answered(), { timeoutMs: 30_000, everyMs: 2 });
    const { ms } = await enabling;
    this.#isEnabled = true;
    const reply = replied - started;
    t.comment(`${what}: first reply after ${reply.toFixed(0)} ms, enabled after ${ms.toFixed(0)} ms`);
    this.reply = Math.min(this.reply, reply);
  }

  /** The time when the plugin has answered, undefined while it does not. */
  async #answered(): Promise<number | undefined> {
    const answer = await this.plugin.call(this.#method, '', 5_000).catch(() => undefined);
    return answer?.status === 200 ? performance.now() : undefined;
  }
}

/**
 * Asserts that a plugin, which is disabled, starts and stops within its limits: several times, and when that does not show it,
 * in turns with a plugin that does nothing, by which the machine's own slowness is known. It is enabled afterwards.
 */
export async function startsWithin(
  t: Test,
  host: Host,
  { plugin, kind, method, limits }: { plugin: InstalledPlugin; kind: PluginName; method: string; limits: Limits },
): Promise<void> {
  const own = new Starts(plugin, method);
  let slowness = 1;
  const isGood = (): boolean => own.reply <= limits.reply * slowness && own.stop <= limits.stop * slowness;
  for (let n = 0; n < MIN_STARTS || (n < MAX_STARTS && !isGood()); n += 1) {
    if (n >= MIN_STARTS) await sleep(500);
    await own.again(t, 'it');
  }
  if (!isGood()) {
    const folder = await builtPlugin(kind, `${kind}-bare`, join(import.meta.dirname, 'bare-main.ts'));
    const bare = new Starts(await host.installPlugin(folder, { name: 'bare', enable: false }), method);
    for (let n = 0; n < MIN_PAIRS || (n < MAX_PAIRS && !isGood()); n += 1) {
      await bare.again(t, 'one that does nothing');
      await own.again(t, 'it');
      slowness = Math.max(1, bare.reply / (limits.reply * BARE_PART));
    }
    await bare.plugin.remove();
    t.comment(`this machine is ${slowness.toFixed(2)} times as slow as a quiet one`);
  }
  const beside = slowness === 1 ? '' : `, on a machine that is ${slowness.toFixed(2)} times as slow as a quiet one`;
  t.ok(own.reply <= limits.reply * slowness, `first reply after ${own.reply.toFixed(0)} ms${beside}`);
  t.ok(own.stop <= limits.stop * slowness, `disabled after ${own.stop.toFixed(0)} ms${beside}`);
}
