import { isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { type Context, now, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { VOLUME } from './cloud-tags.ts';
import { DeviceNames } from './ebs-devices.ts';
import { type EbsFinding, missing } from './ebs-finding.ts';
import type { EbsPlace } from './ebs-place.ts';
import { type EbsReading, isVolumeId } from './ebs-reading.ts';
import { STATE_MS, STATE_PAUSE_MS, toDiskError } from './ebs-refusals.ts';

/** Names that turned out to be taken by others, before it is given up. */
const NAME_TRIES = 5;

/** Brings disks to this host, and takes them from hosts. */
export class EbsAttaching {
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;
  readonly #finding: EbsFinding;
  readonly #names = new DeviceNames();

  constructor(place: EbsPlace, reading: EbsReading, finding: EbsFinding) {
    this.#place = place;
    this.#reading = reading;
    this.#finding = finding;
  }

  /** See DiskProvider.attach. */
  async attach(id: string, c: Context): Promise<void> {
    // Whoever attaches has looked a moment ago.
    const seen = this.#reading.lastSeen(id);
    const { tags } = seen !== undefined && this.#reading.isOurs(seen) ? seen : await this.#finding.must(id, c);
    const volume = tags[VOLUME] ?? '';
    const end = now() + STATE_MS;
    for (let names = 0; ; ) {
      const name = await this.#takeName(id, volume, c);
      try {
        await this.#place.ebs.call('AttachVolume', { volume: id, instance: this.#place.self.id, device: name }, c);
        break;
      } catch (error) {
        if (isVolumeRefusal(error, 'device-taken') && names < NAME_TRIES) {
          // Somebody else attaches here, too: this name stays held, as if another disk of ours had it.
          this.#names.hold(name, 'others');
          names += 1;
          continue;
        }
        this.#names.giveBack(name);
        if (isVolumeRefusal(error, 'disk-in-use')) {
          await this.#refuseUnlessMine(id, volume, c);
          return;
        }
        // In the middle of something that is not shown yet, or so new that it is not known everywhere.
        const isPassing =
          isVolumeRefusal(error, 'disk-state') || (isVolumeRefusal(error, 'disk-missing') && this.#reading.isYoung(id));
        if (await this.#finding.isGone(error, id, c)) throw missing(id, volume);
        if (!isPassing || now() > end) throw await this.#whyNotAttached(error, id, volume, c);
        await sleep(STATE_PAUSE_MS, c);
      }
    }
    await this.#reading.shown(id, c, (shown) => shown?.attachment?.instance === this.#place.self.id);
  }

  /** It is attached: here, as when the answer to an earlier request was lost, or to another host. */
  async #refuseUnlessMine(id: string, volume: string, c: Context): Promise<void> {
    const instance = await this.#reading.shownHolder(id, c);
    if (instance === this.#place.self.id) return;
    if (instance !== undefined) await this.#place.meet([instance], c);
    const holder = instance === undefined ? 'another one' : this.#place.nameOf(instance);
    throw new PluginError('VOLUME_BUSY', { volume, holder });
  }

  async #whyNotAttached(error: unknown, disk: string, volume: string, c: Context): Promise<unknown> {
    const what = `to attach disk ${disk} of volume ${volume}`;
    if (!isVolumeRefusal(error, 'attach-limit')) return toDiskError(error, what, { volume, disk });
    const machine = await this.#place.machine(c);
    const { attachments, isShared } =
      machine === undefined
        ? { attachments: undefined, isShared: false }
        : await this.#place.ebs.call('DescribeInstanceTypes', { type: machine.type }, c);
    const most = attachments === undefined ? 'no more disks' : `${attachments} of them`;
    const shared = isShared ? ', network interfaces included' : '';
    const reason = `it is a ${machine?.type}, which takes ${most}${shared}`;
    return new PluginError('ATTACH_LIMIT', { disk, volume, reason }, { cause: error });
  }

  /** One that was chosen since EC2 was asked is held: each is given to one disk. */
  async #takeName(id: string, volume: string, c: Context): Promise<string> {
    const machine = await this.#place.machine(c);
    const name = this.#names.take(id, machine?.devices ?? []);
    if (name !== undefined) return name;
    throw new PluginError('ATTACH_LIMIT', { disk: id, volume, reason: 'no name for another device is left' });
  }

  /** See DiskProvider.detach. */
  async detach(id: string, host: string, c: Context): Promise<void> {
    if (!isVolumeId(id)) return;
    try {
      await this.#place.ebs.call('DetachVolume', { volume: id, instance: host }, c);
    } catch (error) {
      // It is not attached there, or on its way out already.
      const isDone = isVolumeRefusal(error, 'not-attached', 'disk-state', 'disk-missing', 'instance-missing');
      if (!isDone && !(await this.#finding.isGone(error, id, c))) {
        throw toDiskError(error, `to detach disk ${id}`, { volume: await this.#finding.volumeOf(id, c), disk: id });
      }
    }
    await this.#reading.shown(id, c, (shown) => {
      const { attachment } = shown ?? {};
      return attachment?.instance !== host || attachment.state === 'detaching' || attachment.state === 'busy';
    });
  }
}
