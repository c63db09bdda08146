import type { DiskInfo } from '../../shared/cloud/aliyun/disk-answers.ts';
import type { AliyunDisks } from '../../shared/cloud/aliyun/disk-client.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { until } from '../../shared/looking.ts';
import type { AliyunPlace } from './aliyun-place.ts';
import { refusal } from './aliyun-refusals.ts';
import type { AliyunView } from './aliyun-view.ts';
import { VOLUME } from './cloud-tags.ts';

/** Looks at disks before and between the steps that are done with them, and words what goes wrong. */
export class AliyunLooking {
  readonly #client: () => AliyunDisks | undefined;
  readonly #place: AliyunPlace;
  readonly #view: AliyunView;

  /** `client`: undefined until the provider has started. */
  constructor(client: () => AliyunDisks | undefined, place: AliyunPlace, view: AliyunView) {
    this.#client = client;
    this.#place = place;
    this.#view = view;
  }

  /** Errors: NOT_READY before the provider has started. */
  get client(): AliyunDisks {
    const client = this.#client();
    if (client === undefined) throw new PluginError('NOT_READY', { reason: 'Aliyun was not asked yet' });
    return client;
  }

  /** A disk of this cluster as it is, with what this host has just done to it; undefined: none, or none of a volume. */
  async look(id: string, c: Context): Promise<DiskInfo | undefined> {
    const found = await this.asking(`disk ${id}`, () => this.client.disk(id, c));
    return found === undefined ? undefined : this.#view.known(found);
  }

  /** Looks at the disk until `step` says that it is done. Errors: those of the step, the context's, STILL_WORKING. */
  async until(
    what: string,
    id: string,
    c: Context,
    step: (found: DiskInfo | undefined) => Promise<boolean>,
  ): Promise<void> {
    await until<true>(`${what} disk ${id}`, c, async (says) => {
      const found = await this.look(id, c);
      says(`it is ${found?.status ?? 'not to be seen'}`);
      return (await step(found)) ? { done: true } : 'wait';
    });
  }

  /** Says who has the disk. */
  async busy({ tags }: DiskInfo, holder: string, c: Context): Promise<PluginError> {
    await this.#place.meet([holder], c);
    return new PluginError('VOLUME_BUSY', { volume: tags[VOLUME], holder: this.#place.nameOf(holder) });
  }

  /** A refusal in the words of volumes. */
  refused(error: unknown, subject: Parameters<typeof refusal>[2]): unknown {
    return refusal(error, this.#client()?.caller.translate(error) ?? error, subject);
  }

  /** Words what goes wrong with a question. */
  async asking<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.refused(error, { what, volume: what });
    }
  }
}
