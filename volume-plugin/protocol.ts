import { PluginError } from '../shared/errors.ts';
import type { Handler, MethodTable } from '../shared/plugin/server.ts';
import { record, text } from '../shared/plugin/wire.ts';

/**
 * Docker's volume API as far as it goes today: the plugin can be enabled and asked, it holds no volumes, and creating
 * one is refused. To the engine an error from Get means "there is no such volume", which is the truth here.
 */
export const volumeMethods: MethodTable = {
  '/VolumeDriver.Capabilities': async () => ({ Capabilities: { Scope: 'global' } }),
  '/VolumeDriver.List': async () => ({ Volumes: [] }),
  '/VolumeDriver.Create': refuse('VOLUME_UNSUPPORTED'),
  '/VolumeDriver.Get': refuse('VOLUME_UNKNOWN'),
  '/VolumeDriver.Path': refuse('VOLUME_UNKNOWN'),
  '/VolumeDriver.Mount': refuse('VOLUME_UNKNOWN'),
  '/VolumeDriver.Unmount': refuse('VOLUME_UNKNOWN'),
  '/VolumeDriver.Remove': refuse('VOLUME_UNKNOWN'),
};

function refuse(code: 'VOLUME_UNSUPPORTED' | 'VOLUME_UNKNOWN'): Handler {
  return async (body) => {
    throw new PluginError(code, { volume: text(record(body, 'body'), 'Name') });
  };
}
