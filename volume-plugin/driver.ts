import { type Context, newContext } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { RetiredDisk } from './backends/backend.ts';
import { Catalogue } from './catalogue.ts';
import { DayTwoWork } from './day-two.ts';
import { Making } from './making.ts';
import { Mounting, pathOf } from './mounting.ts';
import type { DriverDeps } from './parts.ts';
import { holdsOn } from './references.ts';
import { Releasing } from './releasing.ts';
import { Removing } from './removing.ts';
import type { UnconfirmedRecord, VolumeRecord } from './state.ts';

export type Detail = string | number | boolean;

/** A volume as Docker is told about it. */
export interface Description {
  readonly name: string;
  /** Where it is mounted on this host; empty: it is not. */
  readonly path: string;
  /** ISO time. */
  readonly created: string;
  readonly status: Readonly<Record<string, Detail>>;
}

/** What Docker asks of the plugin, free of its words. Calls for different volumes never wait for each other. */
export class Driver {
  readonly catalogue: Catalogue;
  readonly releasing: Releasing;
  readonly dayTwo: DayTwoWork;
  readonly #deps: DriverDeps;
  readonly #making: Making;
  readonly #mounting: Mounting;
  readonly #removing: Removing;

  constructor(deps: DriverDeps) {
    this.#deps = deps;
    this.catalogue = new Catalogue(deps);
    this.releasing = new Releasing(deps);
    this.#making = new Making(deps, this.catalogue);
    this.#mounting = new Mounting(deps, this.catalogue, this.#making, this.releasing);
    this.#removing = new Removing(deps, this.catalogue, this.releasing);
    this.dayTwo = new DayTwoWork(deps, this.catalogue, this.#making);
  }

  /** Errors: VOLUME_UNKNOWN, and that only when it is confirmed. */
  async get(name: string, c: Context): Promise<Description> {
    const known = this.catalogue.known(name);
    if (known?.phase === 'ready') return this.#describe(known);
    if (known === undefined) {
      const found = await this.catalogue.lookUp(name, c);
      return 'phase' in found ? this.#describe(found) : describeUnconfirmed(found);
    }
    // Docker goes by this answer: a volume that can be made (or be gone) within the time it waits shall be.
    await this.finish(name, newContext(c.log, this.#deps.windows.findMs, c)).catch((error: unknown) =>
      c.log.info('what was begun with a volume is not finished yet', { volume: name, error: asPluginError(error) }),
    );
    const now = this.catalogue.known(name);
    if (now === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    return this.#describe(now);
  }

  /** All volumes of the cluster, without what takes time to say. */
  names(): readonly Pick<Description, 'name' | 'path' | 'created'>[] {
    return this.catalogue.all().map(({ name, created }) => ({ name, created, path: this.#pathHere(name) }));
  }

  list(): readonly Description[] {
    return this.catalogue.all().map((record) => this.#describe(record));
  }

  /** Where the volume is mounted; empty: nowhere on this host. */
  async path(name: string, c: Context): Promise<string> {
    return (await this.get(name, c)).path;
  }

  async create(name: string, options: Readonly<Record<string, string>>, c: Context): Promise<void> {
    await this.#making.create(name, options, c);
  }

  async mount(name: string, id: string, c: Context): Promise<string> {
    return await this.#mounting.mount(name, id, c);
  }

  async unmount(name: string, id: string, c: Context): Promise<void> {
    await this.#mounting.unmount(name, id, c);
  }

  async remove(name: string, c: Context): Promise<void> {
    await this.#removing.remove(name, c);
  }

  /**
   * Takes a volume from a dead host on an operator's word, and answers it as it is then. Errors: VOLUME_UNKNOWN, and those
   * of the back-end's `fence`; VOLUME_UNABLE when volumes of its type are held by no host.
   */
  async fence(name: string, host: string, c: Context): Promise<Description> {
    await this.#deps.locks.run(
      name,
      async () => {
        const record = await this.catalogue.confirmed(name, c);
        const backend = this.#deps.backends.working(record.type, name);
        if (backend.fence === undefined) {
          const instead = 'Several hosts have it at a time, and none is in the way of others';
          throw new PluginError('VOLUME_UNABLE', { what: 'To fence', volume: name, type: record.type, instead });
        }
        await backend.fence(record, host, c);
      },
      c,
    );
    await this.catalogue.refresh(c);
    return this.#describe(await this.catalogue.confirmed(name, c));
  }

  /**
   * Retired generations of a volume, or with the number of one: those up to it, which are removed. Errors: VOLUME_UNKNOWN,
   * and those of the back-end's `retire`; VOLUME_UNABLE when volumes of its type have no generations.
   */
  async retire(name: string, last: number | undefined, c: Context): Promise<readonly RetiredDisk[]> {
    const work = async (): Promise<readonly RetiredDisk[]> => {
      const record = await this.catalogue.confirmed(name, c);
      const backend = this.#deps.backends.working(record.type, name);
      if (backend.retire !== undefined) return await backend.retire(record, last, c);
      const instead = 'It leaves nothing behind that could be removed';
      throw new PluginError('VOLUME_UNABLE', { what: 'To retire', volume: name, type: record.type, instead });
    };
    return await this.#deps.locks.run(name, work, c);
  }

  /** Finishes what was begun with a volume: its making or its removal. Errors: those of the back-end. */
  async finish(name: string, c: Context): Promise<void> {
    await this.#deps.locks.run(
      name,
      async () => {
        const record = this.catalogue.known(name);
        if (record?.phase === 'creating') await this.#making.finishLocked(record, c);
        if (record?.phase === 'removing') await this.#removing.finishLocked(record, c);
      },
      c,
    );
  }

  #pathHere(name: string): string {
    const mount = this.#deps.store.get('mounts', name);
    return mount?.phase === 'mounted' && mount.boot === this.#deps.boot ? pathOf(mount) : '';
  }

  #describe(record: VolumeRecord): Description {
    const { store, backends } = this.#deps;
    const { name, type, created, phase, whereabouts, lastError } = record;
    const work = store.get('works', name)?.work.kind;
    const options = Object.entries(record.options).map(([option, value]) => `${option}=${value}`);
    const mount = store.get('mounts', name);
    const lost = mount?.lost === undefined ? undefined : `lost: ${mount.lost}`;
    const trouble = backends.trouble(type);
    return {
      name,
      created,
      path: this.#pathHere(name),
      status: {
        ...(trouble === undefined
          ? (backends.all.get(type)?.status(record, mount?.phase === 'mounted' ? mount.target : undefined) ?? {})
          : {}),
        type,
        state: phase === 'ready' ? (lost ?? mount?.phase ?? whereabouts ?? 'available') : phase,
        holds: holdsOn(store, name),
        ...(work === undefined ? {} : { underWay: work }),
        ...(options.length === 0 ? {} : { options: options.join(' ') }),
        ...(mount?.device === undefined ? {} : { device: `${mount.source ?? ''} (${mount.device})` }),
        ...(lastError === undefined ? {} : { lastError: lastError.text, lastErrorAt: lastError.at }),
        ...(trouble === undefined ? {} : { trouble: trouble.message }),
      },
    };
  }
}

/** A name that may be a volume; its state says so to whoever looks. */
function describeUnconfirmed({ name, since, reason, absent }: UnconfirmedRecord): Description {
  const state = absent === true ? 'does not exist: remove the name with docker volume rm' : 'not confirmed';
  return { name, path: '', created: since, status: { state, reason } };
}
