import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import type { Handler } from '../shared/plugin/server.ts';
import { record, text } from '../shared/plugin/wire.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { ListedSnapshot } from './backends/backend.ts';
import type { Description, Driver } from './driver.ts';
import type { Drift } from './reconcile.ts';
import { referencesOf } from './references.ts';
import type { VolumeState } from './state.ts';

export interface AdminDeps {
  readonly store: StateStore<VolumeState>;
  readonly driver: Driver;
  /** Settings (redacted) and how the back-ends do, in words. */
  status(): Readonly<Record<string, unknown>>;
  /** Reads the cluster's list again. */
  refresh(c: Context): Promise<void>;
  reconcile(c: Context): Promise<readonly Drift[]>;
}

const snapshotRow = ({ id, volume, size, state, progress, created, reason }: ListedSnapshot) => ({
  ...{ Id: id, Volume: volume, Size: size, Created: created, Reason: reason },
  State: state === 'pending' ? `pending (${Math.floor(progress)} %)` : state,
});

/** What the `drayage` command asks, on a socket that only root may open. Answers come from local state. */
export function adminMethods({ store, driver, ...deps }: AdminDeps): Record<string, Handler> {
  const row = ({ name, path, status }: Description) => ({
    Name: name,
    Type: store.get('volumes', name)?.type ?? '',
    State: status['state'],
    Holds: status['holds'] ?? 0,
    Path: path,
    Options: store.get('volumes', name)?.options ?? {},
    LastError: status['lastError'] ?? '',
  });
  const { dayTwo } = driver;
  const named = (name: string) => {
    const found = driver.list().find((one) => one.name === name);
    if (found === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    return row(found);
  };
  return {
    '/Drayage.Volumes': async () => ({ Volumes: driver.list().map(row) }),
    '/Drayage.Volume': async (body) => {
      const name = text(record(body, 'the request'), 'Volume');
      const found = driver.list().find((one) => one.name === name);
      if (found === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
      const { status, created, path } = found;
      return {
        Volume: {
          ...{ Name: name, Created: created, Path: path, Status: status },
          Options: store.get('volumes', name)?.options ?? {},
          Handle: store.get('volumes', name)?.handle ?? {},
          References: referencesOf(store, name).map(({ id, count, since }) => ({
            ...{ Id: id, Count: count, Since: new Date(since).toISOString() },
          })),
        },
      };
    },
    '/Drayage.VolumeFence': async (body, c) => {
      const request = record(body, 'the request');
      const [name, host] = [text(request, 'Volume'), text(request, 'Host')];
      return { Volume: row(await driver.fence(name, host, c)), Host: host };
    },
    '/Drayage.VolumeRetire': async (body, c) => {
      const request = record(body, 'the request');
      const { Generation: last } = request;
      if (last !== undefined && !(typeof last === 'string' && /^[1-9]\d{0,8}$/.test(last))) {
        throw new PluginError('OPTION_INVALID', {
          ...{ where: 'The command', option: 'Generation', value: String(last) },
          ...{ reason: 'it is no number', allowed: 'the number of a retired generation' },
        });
      }
      const found = await driver.retire(text(request, 'Volume'), last === undefined ? undefined : Number(last), c);
      const Retired = found.map(({ disk, generation, zone, size, retired }) => ({
        ...{ Generation: generation, Disk: disk, Zone: zone, Size: size, Retired: retired },
      }));
      return { Retired, Removed: last !== undefined };
    },
    '/Drayage.VolumeResize': async (body, c) => {
      const request = record(body, 'the request');
      const name = text(request, 'Volume');
      await dayTwo.resize(name, text(request, 'Size'), c);
      return { Volume: named(name) };
    },
    '/Drayage.VolumeSnapshot': async (body, c) => ({
      Snapshot: snapshotRow(await dayTwo.snapshot(text(record(body, 'the request'), 'Volume'), c)),
    }),
    '/Drayage.VolumeSnapshots': async (body, c) => {
      const { Volume: volume } = record(body, 'the request');
      const found = await dayTwo.snapshots(typeof volume === 'string' ? volume : undefined, c);
      return { Snapshots: found.map(snapshotRow) };
    },
    '/Drayage.VolumeSnapshotRemove': async (body, c) => ({
      Snapshot: snapshotRow(await dayTwo.removeSnapshot(text(record(body, 'the request'), 'Snapshot'), c)),
    }),
    '/Drayage.VolumeClone': async (body, c) => {
      const request = record(body, 'the request');
      const [source, name] = [text(request, 'Source'), text(request, 'Volume')];
      await driver.create(name, { type: dayTwo.typeOfCopy(source), from: source }, c);
      return { Volume: named(name), Source: source };
    },
    '/Drayage.VolumeImport': async (body, c) => {
      const request = record(body, 'the request');
      const [disk, name, inside] = [text(request, 'Disk'), text(request, 'Volume'), request['Inside']];
      await dayTwo.import({ disk, volume: name, ...(typeof inside === 'string' && { inside }) }, c);
      return { Volume: named(name), Disk: disk };
    },
    '/Drayage.Refresh': async (_body, c) => {
      await deps.refresh(c);
      return { Volumes: driver.list().map(row) };
    },
    '/Drayage.Status': async () => deps.status(),
    '/Drayage.Reconcile': async (_body, c) => ({
      Drift: (await deps.reconcile(c)).map(({ what }) => ({ What: what, Repaired: true })),
    }),
  };
}
