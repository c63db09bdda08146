import { randomUUID } from 'node:crypto';
import { isOpen } from '../../shared/cloud/aliyun/errors.ts';
import type { FileSystemInfo } from '../../shared/cloud/aliyun/nas-answers.ts';
import type { AliyunNas } from '../../shared/cloud/aliyun/nas-client.ts';
import { CLUSTER_TAG } from '../../shared/cloud/cluster-tag.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { soon, until } from '../../shared/looking.ts';
import type { NasClaims } from './nas-claims.ts';
import { checkSuits, kindWanted } from './nas-kinds.ts';
import type { Where } from './nas-place.ts';
import type { ShareRequest } from './share-provider.ts';

/** Of file systems that were made for a cluster's volumes; others may have the cluster's tag as well. */
const PURPOSE_TAG = 'drayage:purpose';
const PURPOSE = 'volumes';

/** A file system is this old before it counts as the cluster's: one that was made in the same second shows by then. */
const SETTLE_MS = 8_000;
/** How long what may have been made is looked for. */
const APPEAR_MS = 6_000;

export interface MakingOptions {
  readonly client: () => AliyunNas;
  readonly claims: () => NasClaims;
  readonly where: () => Where;
  readonly cluster: string;
  readonly settleMs?: number;
  readonly appearMs?: number;
}

/**
 * The file system of the cluster. One host makes it, once; should two have made one all the same, everybody takes the
 * older one, by NAS's clock and then by id, and takes none that is so young that an older one might not show yet.
 */
export class NasMaking {
  readonly #options: MakingOptions;

  constructor(options: MakingOptions) {
    this.#options = options;
  }

  /** Undefined: there is none yet that all hosts agree on. */
  async found(c: Context): Promise<FileSystemInfo | undefined> {
    const [first] = await this.#candidates(c);
    return first !== undefined && this.#isSettled(first) ? first : undefined;
  }

  /** Makes it when there is none. Errors: OPTION_INVALID, BACKEND_REFUSED, PROVIDER_*, AliyunRefusal, STILL_WORKING. */
  async ensure(request: ShareRequest, c: Context): Promise<FileSystemInfo> {
    const { cluster, where } = this.#options;
    const wanted = kindWanted(request);
    const what = `making the file system of cluster ${cluster}`;
    const find = async (): Promise<FileSystemInfo | undefined> => (await this.#candidates(c))[0];
    const make = () => this.#make(wanted, c);
    await this.#options.claims().once({ key: `file system ${where().region} ${cluster}`, what, find, make }, c);
    const made = await until(what, c, async (says) => {
      const [first, ...others] = await this.#candidates(c);
      says(first === undefined ? 'it does not show yet' : `it was made just now: another host may have made one, too`);
      if (first === undefined || !this.#isSettled(first)) return 'wait';
      if (others.length > 0) {
        const unused = others.map(({ id }) => id).join(', ');
        c.log.warn('NAS has several file systems for this cluster; the first is used', { used: first.id, unused });
      }
      return { done: first };
    });
    checkSuits(request, made);
    return made;
  }

  async #make(wanted: ReturnType<typeof kindWanted>, c: Context): Promise<FileSystemInfo> {
    const { client, where, cluster, appearMs = APPEAR_MS } = this.#options;
    const { capacity, ...traits } = wanted;
    const extreme = capacity === undefined ? {} : { capacity, zone: where().zone };
    const description = `drayage:${cluster.replaceAll('.', '-')}`;
    const asked = { ...traits, ...extreme, description, tags: this.#tags() };
    const look = async (): Promise<FileSystemInfo | undefined> => (await this.#candidates(c))[0];
    // The same for all attempts: where NAS takes tokens it makes one.
    const token = randomUUID();
    for (;;) {
      let id: string | undefined;
      try {
        id = await client().createFileSystem(asked, token, c);
      } catch (error) {
        if (!isOpen(error)) throw error;
      }
      if (id !== undefined) await this.#haveTags(id, c);
      const made = await soon(appearMs, c, look);
      if (made !== undefined) return made;
      if (id !== undefined) {
        const seconds = appearMs / 1000;
        throw new PluginError('STILL_WORKING', {
          what: `making file system ${id}`,
          seconds,
          reason: 'it does not show yet',
        });
      }
    }
  }

  /** Without them nobody would find it, and the next one would be made. */
  async #haveTags(id: string, c: Context): Promise<void> {
    const { client, appearMs = APPEAR_MS } = this.#options;
    const shown = await soon(appearMs, c, () => client().fileSystem(id, c));
    if (shown !== undefined && !this.#isOurs(shown)) await client().tag(id, this.#tags(), c);
  }

  /** Oldest first. */
  async #candidates(c: Context): Promise<readonly FileSystemInfo[]> {
    const found = await this.#options.client().fileSystems(this.#tags(), c);
    const there = found.filter((one) => this.#isOurs(one) && one.status !== 'Deleting');
    return there.sort((a, b) => (`${a.created} ${a.id}` < `${b.created} ${b.id}` ? -1 : 1));
  }

  #isOurs({ tags }: FileSystemInfo): boolean {
    return Object.entries(this.#tags()).every(([name, value]) => tags[name] === value);
  }

  #isSettled({ created }: FileSystemInfo): boolean {
    const { client, settleMs = SETTLE_MS } = this.#options;
    const theirs = Date.now() - (client().caller.clock.ms ?? 0);
    return theirs - Date.parse(created) >= settleMs;
  }

  #tags(): Readonly<Record<string, string>> {
    return { [CLUSTER_TAG]: this.#options.cluster, [PURPOSE_TAG]: PURPOSE };
  }
}
