import type { Metadata } from '../../shared/cloud/metadata.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { Fate, Finding, NextHop, RouteProvider, RouteRequest, RouteTable } from './provider.ts';

/** A cloud that this machine may be in. */
export interface Candidate {
  /** As PROVIDER names it. */
  readonly name: string;
  readonly metadata: Metadata;
  /** The provider for it; no I/O. */
  readonly open: () => Promise<RouteProvider>;
}

/**
 * Provider `auto`: that of the cloud whose metadata service answers. It is asked in `start`, which the engine repeats
 * in the background until it succeeds.
 */
export class AutoProvider implements RouteProvider {
  readonly installsKernelRoutes = false;
  readonly allowsNarrower = true;
  readonly #candidates: readonly Candidate[];
  readonly #log: Logger;
  #found: RouteProvider | undefined;

  constructor(candidates: readonly Candidate[], log: Logger) {
    this.#candidates = candidates;
    this.#log = log;
  }

  get name(): string {
    return this.#found?.name ?? 'auto';
  }

  /** Errors: also those of the cloud's own provider. */
  async start(c: Context): Promise<void> {
    this.#found ??= await this.#find(c);
    await this.#found.start(c);
  }

  async self(c: Context): Promise<NextHop> {
    return this.#chosen().self(c);
  }

  async tables(c: Context): Promise<readonly string[]> {
    return this.#chosen().tables(c);
  }

  async read(c: Context, maxAgeMs?: number): Promise<readonly RouteTable[]> {
    return this.#chosen().read(c, maxAgeMs);
  }

  async create(table: string, request: RouteRequest, c: Context): Promise<void> {
    return this.#chosen().create(table, request, c);
  }

  async replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    return this.#chosen().replace(table, request, expected, c);
  }

  async remove(table: string, route: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    return this.#chosen().remove(table, route, c);
  }

  async fate(hop: NextHop, c: Context): Promise<Fate> {
    return (await this.#chosen().fate?.(hop, c)) ?? 'unknown';
  }

  local(): readonly string[] {
    return this.#found?.local() ?? [];
  }

  async prepareHost(repair: boolean, c: Context): Promise<readonly Drift[]> {
    return (await this.#chosen().prepareHost?.(repair, c)) ?? [];
  }

  async quota(c: Context): Promise<number | undefined> {
    return this.#chosen().quota?.(c);
  }

  async findings(c: Context): Promise<readonly Finding[]> {
    if (this.#found !== undefined) return (await this.#found.findings?.(c)) ?? [];
    const looks = await Promise.all(this.#candidates.map((one) => this.#ask(one, c)));
    const found = looks.map(({ name, why }) => `${name}: ${why ?? 'it answers'}`).join('; ');
    const remedy = `Set PROVIDER to ${this.#candidates.map((one) => one.name).join(' or ')}, and look why its metadata service does not answer.`;
    const answered = looks.some(({ why }) => why === undefined);
    return [{ check: 'cloud', state: answered ? 'good' : 'bad', found, ...(!answered && { remedy }) }];
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    return this.#found === undefined
      ? { cloud: 'not known yet' }
      : { cloud: this.#found.name, ...this.#found.status?.() };
  }

  async close(): Promise<void> {
    await this.#found?.close();
  }

  async #find(c: Context): Promise<RouteProvider> {
    const looks = await Promise.all(this.#candidates.map((one) => this.#ask(one, c)));
    const [candidate] = this.#candidates.filter((_, n) => looks[n]?.why === undefined);
    if (candidate === undefined) {
      const tried = looks.map(({ name, why }) => `${name} (${why})`).join(', ');
      const names = this.#candidates.map((one) => one.name).join(' or ');
      const reason = `no cloud's metadata service answers: ${tried}; set PROVIDER=${names}`;
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'auto', reason });
    }
    this.#log.info('found the cloud that this machine is in', { provider: candidate.name });
    return candidate.open();
  }

  /** `why` it is not this one; undefined when it is. */
  async #ask({ name, metadata }: Candidate, c: Context): Promise<{ readonly name: string; readonly why?: string }> {
    try {
      const id = await metadata.get('meta-data/instance-id', c);
      return id === undefined ? { name, why: `${metadata.endpoint} knows no instance` } : { name };
    } catch (error) {
      const { context, message } = asPluginError(error);
      return { name, why: String(context.reason ?? message).replace(/^metadata service at /, '') };
    }
  }

  #chosen(): RouteProvider {
    if (this.#found !== undefined) return this.#found;
    throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'auto', reason: 'which cloud this is is not known yet' });
  }
}
