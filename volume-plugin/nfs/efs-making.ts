import { createHash } from 'node:crypto';
import type { FileSystem } from '../../shared/cloud/aws/share-model.ts';
import { CLUSTER_TAG } from '../../shared/cloud/cluster-tag.ts';
import { type Context, now } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { EfsPlace } from './efs-place.ts';
import type { ShareRequest } from './share-provider.ts';

/** So long what was just made may not show yet. */
const YOUNG_MS = 15_000;

/** Costs follow use, and nobody has to know beforehand how much there will be. */
const USUAL_KIND = 'elastic';
/** `provisioned` is none of them: that needs a figure, and is changed at the console without making anything anew. */
const KINDS = ['elastic', 'bursting'];

const isThere = (found: FileSystem | undefined): found is FileSystem =>
  found !== undefined && found.state !== 'deleting' && found.state !== 'deleted';

/**
 * The file system of the cluster. EFS makes one for each token and account, and answers it to whoever asks with the same
 * token, also to hosts that ask at once: so the token is the cluster's.
 */
export class EfsMaking {
  readonly #place: EfsPlace;
  readonly #cluster: string;
  readonly #token: string;
  #made: { readonly id: string; readonly at: number } | undefined;

  constructor(place: EfsPlace, cluster: string) {
    this.#place = place;
    this.#cluster = cluster;
    // EFS takes 64 letters; a cluster's name may have as many.
    this.#token = createHash('sha256').update(`drayage ${cluster}`).digest('hex');
  }

  /** The id of what was made for the cluster; undefined: nothing. */
  async find(c: Context): Promise<string | undefined> {
    const found = await this.#place.efs.call('DescribeFileSystems', { token: this.#token }, c);
    if (isThere(found)) return found.id;
    return this.#made !== undefined && this.isYoung(this.#made.id) ? this.#made.id : undefined;
  }

  /** Was it made a moment ago, so that it need not show yet? */
  isYoung(id: string): boolean {
    return this.#made?.id === id && now() - this.#made.at < YOUNG_MS;
  }

  /** Errors: OPTION_INVALID for what EFS cannot make, or where there is another one already. */
  async ensure(request: ShareRequest, c: Context): Promise<string> {
    const { kind = USUAL_KIND, encrypted = true, key } = request;
    if (!KINDS.includes(kind)) throw invalid('kind', kind, 'EFS has no such throughput mode', KINDS.join(', '));
    if (key !== undefined && !encrypted)
      throw invalid('key', key, 'nothing is encrypted', 'nothing, or encrypted=true');
    const before = await this.#place.efs.call('DescribeFileSystems', { token: this.#token }, c);
    if (isThere(before)) {
      checkSame(before, request);
      return before.id;
    }
    const { id, isNew } = await this.#place.efs.call(
      'CreateFileSystem',
      {
        ...{ token: this.#token, throughput: kind, encrypted },
        ...(key !== undefined && { key }),
        tags: { Name: `drayage-${this.#cluster}`, [CLUSTER_TAG]: this.#cluster },
      },
      c,
    );
    this.#made = { id, at: now() };
    if (isNew) c.log.info('made the file system of the cluster', { fileSystem: id, cluster: this.#cluster, kind });
    return id;
  }
}

/** Whoever asks for something in particular is not given something else. */
const checkSame = ({ id, throughput, encrypted, key }: FileSystem, asked: ShareRequest): void => {
  const differs = (option: string, value: string, has: string): PluginError =>
    invalid(option, value, `the cluster's file system ${id} has ${has}`, `nothing, or ${has}; or name another share`);
  if (asked.kind !== undefined && asked.kind !== throughput) throw differs('kind', asked.kind, throughput);
  if (asked.encrypted !== undefined && asked.encrypted !== encrypted) {
    throw differs('encrypted', String(asked.encrypted), String(encrypted));
  }
  // EFS tells a key by its ARN, however it was named.
  if (asked.key !== undefined && key?.endsWith(asked.key) !== true && !asked.key.includes('alias/')) {
    throw differs('key', asked.key, key ?? 'none');
  }
};

const invalid = (option: string, value: string, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', { where: 'The volume option', option, value, reason, allowed });
