import { createHash } from 'node:crypto';
import { type DiskInfo, GIB, type SnapshotInfo, type Tags } from '../../shared/cloud/aliyun/disk-answers.ts';
import type { AliyunDisks } from '../../shared/cloud/aliyun/disk-client.ts';
import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { Context } from '../../shared/context.ts';
import { soon } from '../../shared/looking.ts';
import { shapeOf } from './aliyun-kinds.ts';
import { burned, type Refused } from './aliyun-refusals.ts';
import type { AliyunView } from './aliyun-view.ts';
import { CLUSTER, TOKEN, VOLUME } from './cloud-tags.ts';
import type { Disk, DiskRequest, DiskTags, Snapshot } from './provider.ts';

export interface MakingOptions {
  readonly cluster: string;
  readonly view: AliyunView;
  readonly client: () => AliyunDisks;
  readonly refused: Refused;
  /** The zone that disks are made in unless another one is asked for. */
  readonly zone: () => string;
  /** How long what was made may take to show, in milliseconds. */
  readonly appearMs?: number;
}

const APPEAR_MS = 6_000;

/** Names that people see begin with a letter there, and are not longer. */
const shownName = (volume: string): string => (/^\p{L}/u.test(volume) ? volume : `v-${volume}`).slice(0, 128);

/** Disks and snapshots are made here: once for each token, whoever asks and how often. */
export class AliyunMaking {
  readonly #options: MakingOptions;
  /** Tokens that are known to make nothing any more: Aliyun remembers them for a day. */
  readonly #burned = new Set<string>();

  constructor(options: MakingOptions) {
    this.#options = options;
  }

  /** Of this cluster's alone; 56 characters of ASCII, as the API takes up to 64. */
  token(kind: 'disk' | 'snapshot' | 'resize', token: string): string {
    const hash = createHash('sha256').update(JSON.stringify([this.#options.cluster, kind, token]));
    return `drayage-${hash.digest('hex').slice(0, 48)}`;
  }

  /** What made a disk with these tags makes no other one. */
  removed({ [TOKEN]: mark }: Tags): void {
    if (mark !== undefined) this.#burned.add(mark);
  }

  /**
   * The token is written on the disk as well: Aliyun takes it for a request that is the same to the letter only, and
   * another host's has other tags. Errors: see DiskProvider.create.
   */
  async disk(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    const { view, client, refused } = this.#options;
    const { volume, tags, labels, snapshot, key } = request;
    const shape = shapeOf(request);
    const zone = request.zone ?? this.#options.zone();
    const mark = this.token('disk', token);
    if (this.#burned.has(mark)) throw burned(`a disk for volume ${volume}`);
    const from = snapshot === undefined ? '' : ` from snapshot ${snapshot}`;
    const what = `a disk of ${shape.size / GIB} GiB and kind ${shape.category} in ${zone}${from} for volume ${volume}`;
    const wanted = {
      ...{ ...shape, zone, encrypted: request.encrypted === true || key !== undefined, name: shownName(volume) },
      ...(key !== undefined && { key }),
      ...(snapshot !== undefined && { snapshot }),
      tags: { ...labels, ...view.kept(volume, tags, mark) },
    };
    let look = async (): Promise<DiskInfo | undefined> => (await client().disks({ tags: this.#marked(mark) }, c))[0];
    try {
      const id = await client().create(wanted, mark, c);
      look = () => client().disk(id, c);
    } catch (error) {
      // The same token with other tags: of two hosts that create a volume one was first.
      if (kindOfError(error) !== 'mismatch') throw refused(error, { what, volume, size: shape.size });
    }
    const found = await this.#appeared({ what, volume }, look, c);
    const [disk] = found === undefined ? [] : await view.disks([found], c);
    if (disk?.volume === volume) return disk;
    this.#burned.add(mark);
    throw burned(`a disk for volume ${volume}`);
  }

  /** Of a disk of a volume. Errors: see DiskProvider.snapshot. */
  async snapshot({ id, size, tags: kept }: DiskInfo, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    const { view, client, refused } = this.#options;
    const volume = kept[VOLUME] ?? id;
    const mark = this.token('snapshot', token);
    const what = `a snapshot of disk ${id} of volume ${volume}`;
    // Names that begin with `auto` are Aliyun's own.
    const name = `drayage-${volume}`.slice(0, 128);
    let look = async (): Promise<SnapshotInfo | undefined> => (await client().snapshots(this.#marked(mark), c))[0];
    try {
      const made = await client().takeSnapshot(id, name, view.kept(volume, tags, mark), mark, c);
      look = () => client().snapshot(made, c);
    } catch (error) {
      if (kindOfError(error) !== 'mismatch') throw refused(error, { what, volume, disk: id, size });
    }
    const found = await this.#appeared({ what, volume }, look, c);
    const taken = found === undefined ? undefined : view.snapshot(found);
    if (taken?.disk !== id) throw burned(what);
    return taken;
  }

  #marked(mark: string): Tags {
    return { [CLUSTER]: this.#options.cluster, [TOKEN]: mark };
  }

  /** Undefined when there is still nothing to be seen after a while. */
  async #appeared<T>(
    subject: { readonly what: string; readonly volume: string },
    look: () => Promise<T | undefined>,
    c: Context,
  ): Promise<T | undefined> {
    return await soon(this.#options.appearMs ?? APPEAR_MS, c, () =>
      look().catch((error: unknown) => Promise.reject(this.#options.refused(error, subject))),
    );
  }
}
