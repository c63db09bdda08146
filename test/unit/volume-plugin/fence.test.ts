import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { adminMethods } from '../../../volume-plugin/admin.ts';
import type { Volume } from '../../../volume-plugin/backends/backend.ts';
import { codeOf } from './block/scratch.ts';
import { bench, context } from './fakes.ts';

const setUp = async () => {
  const { driver, backend, store, stop } = await bench();
  const admin = adminMethods({
    store,
    driver,
    status: () => ({}),
    refresh: async () => undefined,
    reconcile: async () => [],
  });
  const fence = async (body: unknown): Promise<unknown> => await admin['/Drayage.VolumeFence']?.(body, context());
  await driver.create('data', {}, context());
  return { backend, fence, stop };
};

t.test('an operator’s word goes to the volume’s back-end, and its answer comes back', async (t) => {
  const { backend, fence, stop } = await setUp();
  const asked: string[] = [];
  Object.assign(backend, {
    fence: async (volume: Volume, host: string) => {
      asked.push(`${volume.name} ${volume.handle['disk']} ${host}`);
      if (host !== 'host-2') throw new PluginError('VOLUME_BUSY', { volume: volume.name, holder: 'host-2' });
    },
  });
  t.match(await fence({ Volume: 'data', Host: 'host-2' }), { Volume: { Name: 'data' }, Host: 'host-2' });
  t.equal(await codeOf(fence({ Volume: 'data', Host: 'host-3' })), 'VOLUME_BUSY');
  t.same(asked, ['data disk-data host-2', 'data disk-data host-3']);
  await stop();
});

t.test(
  'what cannot be fenced is refused: no such volume, a kind that no host holds, a request without a host',
  async (t) => {
    const { fence, stop } = await setUp();
    t.equal(await codeOf(fence({ Volume: 'nothing', Host: 'host-2' })), 'VOLUME_UNKNOWN');
    t.equal(await codeOf(fence({ Volume: 'data', Host: 'host-2' })), 'VOLUME_UNABLE');
    t.not(await codeOf(fence({ Volume: 'data' })), 'none');
    await stop();
  },
);
