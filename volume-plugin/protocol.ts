import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import type { Handler, MethodTable } from '../shared/plugin/server.ts';
import { record, text, textMap } from '../shared/plugin/wire.ts';
import type { Description, Driver } from './driver.ts';

/**
 * Docker's words, translated: `VolumeDriver.*` bodies in, the driver's calls, answers out. Field names are the engine's
 * (`volume/drivers` in moby).
 */

/** Two requests of the same bytes are two holds (`docker cp` twice at once), not one. */
export const DISTINCT = /^\/VolumeDriver\.(Mount|Unmount)$/;

/** What is the same at all times, and so is answered before the state is loaded. */
export const CONSTANT_METHODS: MethodTable = {
  '/VolumeDriver.Capabilities': async () => ({ Capabilities: { Scope: 'global' } }),
};

/** Answered even when nothing else can be. */
export const GET = '/VolumeDriver.Get';

/** The volume that a request is about. Errors: BAD_REQUEST. */
export const nameIn = (body: unknown): string => text(record(body, 'the request'), 'Name');

/** An id becomes part of a key; Docker's are 64 hexadecimal digits. */
const idIn = (body: unknown): string => {
  const id = text(record(body, 'the request'), 'ID');
  if (!/^[\w.-]{1,128}$/.test(id)) throw new PluginError('BAD_REQUEST', { reason: 'ID must be a mount identifier' });
  return id;
};

const volume = ({ name, path, created, status }: Description) => ({
  Name: name,
  Mountpoint: path,
  CreatedAt: created,
  Status: status,
});

/** The methods that need the plugin's state. */
export function protocol(driver: Driver): Record<string, Handler> {
  return {
    '/VolumeDriver.Create': async (body, c) => {
      await driver.create(nameIn(body), textMap(record(body, 'the request'), 'Opts'), c);
      return {};
    },
    [GET]: async (body, c) => ({ Volume: volume(await driver.get(nameIn(body), c)) }),
    // Docker shows of a list what stands here; of a thousand volumes the rest would be half a megabyte.
    '/VolumeDriver.List': async () => ({
      Volumes: driver.names().map(({ name, path, created }) => ({ Name: name, Mountpoint: path, CreatedAt: created })),
    }),
    '/VolumeDriver.Path': async (body, c) => ({ Mountpoint: await driver.path(nameIn(body), c) }),
    '/VolumeDriver.Mount': async (body, c) => ({ Mountpoint: await driver.mount(nameIn(body), idIn(body), c) }),
    '/VolumeDriver.Unmount': async (body, c) => {
      await driver.unmount(nameIn(body), idIn(body), c);
      return {};
    },
    '/VolumeDriver.Remove': async (body, c) => {
      await driver.remove(nameIn(body), c);
      return {};
    },
  };
}

/** Takes back what a request handed out when its answer reached nobody: Docker will not say Unmount. */
export async function takeBack(driver: Driver, method: string, body: unknown, c: Context): Promise<void> {
  if (method === '/VolumeDriver.Mount') await driver.unmount(nameIn(body), idIn(body), c);
}

/**
 * Get while the plugin cannot start: to Docker an error would mean that there is no such volume, and it would make one
 * of its own under that name. Such a volume can be looked at and not be mounted.
 */
export const unconfirmedAnswer = (body: unknown, error: PluginError): unknown => ({
  Volume: volume({
    name: nameIn(body),
    path: '',
    created: new Date().toISOString(),
    status: { state: 'not confirmed', reason: error.message },
  }),
});
