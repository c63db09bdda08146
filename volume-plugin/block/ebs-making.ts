import { createHash } from 'node:crypto';
import type { Volume, VolumeSnapshot } from '../../shared/cloud/aws/volume-model.ts';
import { isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { type Context, remaining } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { soon } from '../../shared/looking.ts';
import { CLUSTER, TOKEN, VOLUME } from './cloud-tags.ts';
import { USUAL_KIND, wholeGib } from './ebs-kinds.ts';
import type { EbsPlace } from './ebs-place.ts';
import { type EbsReading, isSnapshotId } from './ebs-reading.ts';
import { NAME as PROVIDER, toDiskError } from './ebs-refusals.ts';
import { NAME, toKept } from './ebs-tags.ts';
import type { DiskRequest, DiskTags } from './provider.ts';

/** How long is waited for what somebody else has made with the same token to show. */
const OTHERS_MS = 6_000;
/** How long is waited for a new disk to become available; then it is answered as it is. */
const READY_MS = 15_000;

/** Disks and snapshots are made here: once for each token, whoever asks and how often. */
export class EbsMaking {
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;
  readonly #cluster: string;
  readonly #othersMs: number;
  /** Tokens whose disks were removed from here: EC2 remembers them for a day. */
  readonly #removed = new Set<string>();
  /** Tokens that EC2 remembers for a disk which did not show: no use in waiting for it again. */
  readonly #vain = new Set<string>();

  constructor(place: EbsPlace, reading: EbsReading, options: { readonly cluster: string; readonly othersMs?: number }) {
    this.#place = place;
    this.#reading = reading;
    this.#cluster = options.cluster;
    this.#othersMs = options.othersMs ?? OTHERS_MS;
  }

  /**
   * The token is written on the disk as well, since EC2's own only holds for a request that is the same to the letter:
   * another host's has other tags. Errors: see DiskProvider.create.
   */
  async disk(request: DiskRequest, token: string, c: Context): Promise<Volume> {
    const { volume, size } = request;
    const mark = this.#mark(volume, token);
    const what = `a disk for volume ${volume}`;
    if (this.#removed.has(mark)) throw burned(what, 'the disk that it made was removed from here');
    const before = await this.#made(mark, c);
    if (before !== undefined) return await this.#ready(before, volume, c);
    if (this.#vain.has(mark)) throw burned(what, 'the disk that it made does not show');
    if (request.snapshot !== undefined && !isSnapshotId(request.snapshot)) {
      throw new PluginError('BACKEND_REFUSED', {
        provider: PROVIDER,
        what,
        reason: `${request.snapshot} is no snapshot`,
      });
    }
    let made: Volume;
    try {
      made = await this.#place.ebs.call('CreateVolume', this.#input(request, mark), c);
    } catch (error) {
      const others = isVolumeRefusal(error, 'token-burned')
        ? await soon(this.#othersMs, c, () => this.#made(mark, c))
        : undefined;
      if (others !== undefined) return await this.#ready(others, volume, c);
      if (isVolumeRefusal(error, 'token-burned')) this.#vain.add(mark);
      if (isVolumeRefusal(error, 'disk-missing', 'disk-state')) {
        const reason = `${error.code}: ${error.message}`;
        throw new PluginError('BACKEND_REFUSED', { provider: PROVIDER, what, reason }, { cause: error });
      }
      throw toDiskError(error, what, { volume, disk: 'new', size });
    }
    // An answer to a token may be about a disk that is not there any more, or is somebody else's by now.
    // By EC2's clock: a new one that does not show yet would be taken for gone where this host's is ahead.
    const age = Date.now() - (this.#place.ebs.clock.ms ?? 0) - Date.parse(made.created);
    if (age > this.#othersMs && (await this.#reading.volume(made.id, c)) === undefined)
      throw burned(what, `it made ${made.id}, which is gone`);
    this.#reading.made(made);
    return await this.#ready(made, volume, c);
  }

  /** A disk was removed: its token makes no other one. */
  removed({ tags }: Volume): void {
    const { [TOKEN]: mark } = tags;
    if (mark !== undefined) this.#removed.add(mark);
  }

  /** EC2 takes no token for snapshots: whether one was made is looked up. Errors: see DiskProvider.snapshot. */
  async snapshot(of: Volume, tags: DiskTags, token: string, c: Context): Promise<VolumeSnapshot> {
    const volume = of.tags[VOLUME] ?? '';
    const mark = this.#mark(volume, token);
    const find = async (): Promise<VolumeSnapshot | undefined> =>
      (await this.#reading.snapshots(c, volume)).find((one) => one.tags[TOKEN] === mark);
    const before = await find();
    if (before !== undefined) return before;
    const request = {
      volume: of.id,
      description: `Drayage volume ${volume}`,
      tags: { ...this.#ownership(volume, mark), ...toKept(tags) },
    };
    try {
      const made = await this.#place.ebs.call('CreateSnapshot', request, c);
      await this.#reading.settled(c, async () => (await this.#reading.keptSnapshot(made.id, c)) !== undefined);
      return made;
    } catch (error) {
      // The answer may be lost, and the snapshot be there.
      if (asPluginError(error).code === 'PROVIDER_UNREACHABLE') {
        const found = await soon(this.#othersMs, c, find);
        if (found !== undefined) return found;
      }
      throw toDiskError(error, `a snapshot of volume ${volume}`, { volume, disk: of.id });
    }
  }

  #input(request: DiskRequest, mark: string) {
    const { volume, size, zone = this.#place.self.zone, snapshot, kind = USUAL_KIND, tags, labels = {} } = request;
    const { iops, throughput, encrypted, key } = request;
    return {
      ...{ zone, kind, size: wholeGib(size), token: mark },
      ...(iops !== undefined && { iops }),
      ...(throughput !== undefined && { throughput }),
      ...(encrypted !== undefined && { encrypted }),
      ...(key !== undefined && { key }),
      ...(snapshot !== undefined && { snapshot }),
      tags: { ...labels, ...this.#ownership(volume, mark), ...toKept(tags) },
    };
  }

  #ownership(volume: string, mark: string) {
    return { [NAME]: volume, [VOLUME]: volume, [CLUSTER]: this.#cluster, [TOKEN]: mark };
  }

  /** EC2 takes 64 letters; the same token of another cluster or volume is another one. */
  #mark(volume: string, token: string): string {
    return createHash('sha256')
      .update(JSON.stringify([this.#cluster, volume, token]))
      .digest('hex');
  }

  async #made(mark: string, c: Context): Promise<Volume | undefined> {
    const found = await this.#place.ebs.call('DescribeVolumes', { tags: { [TOKEN]: mark } }, c);
    return found.find(({ state }) => state !== 'deleting' && state !== 'deleted');
  }

  /**
   * EC2 says yes first and looks afterwards, at keys for instance: then the disk fails, or vanishes, and the token is
   * good for nothing any more.
   */
  async #ready(made: Volume, volume: string, c: Context): Promise<Volume> {
    const what = `a disk for volume ${volume}`;
    const refuseOthers = (found: Volume): void => {
      if (this.#reading.isOurs(found) && found.tags[VOLUME] === volume) return;
      throw burned(what, `${made.id} is another one's by now`);
    };
    refuseOthers(made);
    let last: Volume | undefined = made;
    let isSeen = false;
    await this.#reading.settled(
      c,
      async () => {
        last = await this.#reading.volume(made.id, c);
        const wasSeen = isSeen;
        isSeen ||= !this.#reading.isYoung(made.id);
        // It is not there yet, or was there and is not any more.
        if (last === undefined) return wasSeen || !this.#reading.isYoung(made.id);
        return last.state !== 'creating' && this.#reading.isOurs(last);
      },
      Math.min(READY_MS, remaining(c) / 2),
    );
    const gone = 'is the key that it shall be encrypted with right, and may this role use it?';
    if (last === undefined) throw burned(what, `${made.id} vanished while it was made: ${gone}`);
    // The answer to a token may have told the tags of then: what EC2 shows counts.
    refuseOthers(last);
    if (last.state === 'error') {
      await this.#place.ebs.call('DeleteVolume', { volume: made.id }, c);
      throw burned(what, `${made.id} failed while it was made, and was removed again: ${gone}`);
    }
    return last;
  }
}

const burned = (what: string, reason: string): PluginError =>
  new PluginError('TOKEN_BURNED', { provider: PROVIDER, what, reason });
