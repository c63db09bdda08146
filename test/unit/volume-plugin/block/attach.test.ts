import t, { type Test } from 'tap';
import { cancellable } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { attachDisk, detachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { Disk, DiskProvider, DiskState, HostFate } from '../../../../volume-plugin/block/provider.ts';
import { codeOf, context, loopDisk, MIB, messageOf, scratch } from './scratch.ts';

const ME = { id: 'host-a', name: 'a' };
const OTHER = { id: 'host-b', name: 'b' };

type View = { readonly state: DiskState; readonly holder?: typeof ME };
const at = (state: DiskState, holder?: typeof ME): View => ({ state, ...(holder !== undefined && { holder }) });

interface Script {
  /** What `describe` shows, one after the other; the last one stays. Undefined: there is no such disk. */
  readonly shows: readonly (View | undefined)[];
  /** What becomes visible once a step is asked for. */
  readonly afterAttach?: readonly View[];
  readonly afterDetach?: readonly View[];
  readonly devices?: readonly (string | undefined)[];
  readonly fate?: HostFate;
  readonly size?: number;
  readonly attachFails?: PluginError;
}

/** A provider that shows what it is told to, and writes down what it is asked for. */
const scripted = (script: Script) => {
  const calls: string[] = [];
  const next = <T>(list: readonly T[]) => {
    let [rest, last] = [[...list], list.at(-1)];
    return {
      take: (): T | undefined => {
        if (rest.length > 0) last = rest.shift();
        return last;
      },
      give: (more: readonly T[] | undefined): void => {
        if (more !== undefined) rest = [...more];
      },
    };
  };
  const views = next(script.shows);
  const devices = next(script.devices ?? []);
  const disk: Disk = {
    ...{ id: 'disk-1', volume: 'data', size: script.size ?? 16 * MIB, state: 'available' },
    ...{ serial: 'disk-1', tags: {}, created: '' },
  };
  const never = async (): Promise<never> => {
    throw new Error('not asked for here');
  };
  const provider: DiskProvider = {
    ...{ name: 'scripted', start: never, list: never, create: never, tag: never, remove: never, close: never },
    ...{ check: () => undefined, resize: never, search: never, adopt: never, release: never },
    ...{ snapshot: never, snapshots: never, describeSnapshot: never, removeSnapshot: never },
    describe: async () => {
      const view = views.take();
      return view === undefined ? undefined : { ...disk, ...view };
    },
    attach: async () => {
      calls.push('attach');
      if (script.attachFails !== undefined) throw script.attachFails;
      views.give(script.afterAttach);
    },
    detach: async (_id, host) => {
      calls.push(`detach ${host}`);
      views.give(script.afterDetach);
    },
    device: async () => devices.take(),
    fate: async () => script.fate ?? 'unknown',
  };
  return { provider, disk, calls };
};

const attach = (script: Script, ms = 5_000) => {
  const { provider, disk, calls } = scripted(script);
  return { calls, done: attachDisk(provider, ME, disk, context(ms)) };
};

const device = (t: Test): string => loopDisk(scratch(t)).device;
const attached = at('attached', ME);

t.test('a disk that is being made is waited for, attached once, and answered with its device', async (t) => {
  const name = device(t);
  const { done, calls } = attach({
    shows: [at('creating'), at('creating'), at('available')],
    afterAttach: [at('available'), at('attaching', ME), attached],
    devices: [name],
  });
  t.match(await done, { device: name, disk: { state: 'attached', holder: ME } });
  t.same(calls, ['attach']);
});

t.test('a disk that is here already is attached by nobody again', async (t) => {
  const { done, calls } = attach({ shows: [attached], devices: [device(t)] });
  await done;
  t.same(calls, []);
});

t.test('a disk that is just being detached, from here or from elsewhere, is waited for', async (t) => {
  for (const host of [ME, OTHER]) {
    const { done, calls } = attach({
      shows: [at('detaching', host), at('detaching', host), at('available')],
      afterAttach: [attached],
      devices: [device(t)],
      fate: 'alive',
    });
    await done;
    t.same(calls, ['attach']);
  }
});

t.test('a disk of a host that lives, or may live, is left to it, by name', async (t) => {
  for (const state of ['attached', 'attaching'] as const) {
    for (const [fate, text] of [
      ['alive', 'VOLUME_BUSY: Volume data is in use on host b.'],
      ['unknown', 'VOLUME_BUSY: Volume data is in use on host b, and whether that host still runs is not known.'],
    ] as const) {
      const { done, calls } = attach({ shows: [at(state, OTHER)], fate });
      t.equal(await messageOf(done), text);
      t.same(calls, []);
    }
  }
});

t.test('a disk of a host that is stopped or gone is taken, and asked for once', async (t) => {
  for (const fate of ['stopped', 'gone'] as const) {
    const { done, calls } = attach({
      shows: [at('attached', OTHER)],
      afterDetach: [at('attached', OTHER), at('detaching', OTHER), at('available')],
      afterAttach: [attached],
      devices: [device(t)],
      fate,
    });
    await done;
    t.same(calls, ['detach host-b', 'attach']);
  }
});

t.test('an attach that never ends is given up in time, with the state that it is in', async (t) => {
  const { done, calls } = attach({ shows: [at('available')], afterAttach: [at('attaching', ME)] }, 400);
  t.match(await messageOf(done), /^STILL_WORKING: .*attaching disk disk-1 of volume data .* because it is attaching/);
  t.same(calls, ['attach']);
});

t.test('a device that is late is waited for; one that never comes is told', async (t) => {
  const name = device(t);
  const late = attach({ shows: [attached], devices: [undefined, undefined, '/dev/loop-not-there', name] });
  t.equal((await late.done).device, name);
  const never = attach({ shows: [attached], devices: [undefined] }, 300);
  t.match(await messageOf(never.done), /^STILL_WORKING: .* because its device has not appeared/);
});

t.test('a device without a size yet is looked at again; one of another size is not touched', async (t) => {
  const [name, other] = [device(t), device(t)];
  const empty = loopDisk(scratch(t), 0).device;
  const { done } = attach({ shows: [attached], devices: [empty, empty, name] });
  t.equal((await done).device, name);
  const wrong = attach({ shows: [attached], devices: [other], size: 32 * MIB });
  t.match(await messageOf(wrong.done), /^DISK_FAILED: .* has 16777216 bytes instead of 33554432/);
});

t.test('a disk that has failed, is being deleted or does not exist is an error at once', async (t) => {
  t.equal(await codeOf(attach({ shows: [at('failed')] }).done), 'DISK_FAILED');
  t.equal(await codeOf(attach({ shows: [at('deleting')] }).done), 'DISK_FAILED');
  t.equal(await codeOf(attach({ shows: [undefined] }).done), 'DISK_MISSING');
  t.equal(await codeOf(attach({ shows: [at('creating'), undefined] }).done), 'DISK_MISSING');
});

t.test('who was faster is told by the provider', async (t) => {
  const attachFails = new PluginError('VOLUME_BUSY', { volume: 'data', holder: 'b' });
  t.equal(await codeOf(attach({ shows: [at('available')], attachFails }).done), 'VOLUME_BUSY');
});

t.test('work that is called off ends with the reason it was called off for', async (t) => {
  const { provider, disk } = scripted({ shows: [at('creating')] });
  const { context: c, cancel } = cancellable(context());
  setTimeout(() => cancel(new PluginError('VOLUME_IN_USE', { volume: 'data' })), 50);
  t.equal(await codeOf(attachDisk(provider, ME, disk, c)), 'VOLUME_IN_USE');
});

t.test('detaching asks once and waits until the disk is free, another’s, or gone', async (t) => {
  for (const end of [at('available'), at('attached', OTHER), undefined]) {
    const shows = [attached, at('detaching', ME), at('detaching', ME), end];
    const { provider, calls } = scripted({ shows });
    await detachDisk(provider, ME, 'disk-1', context());
    t.same(calls, ['detach host-a']);
  }
});

t.test('what is not here is not detached', async (t) => {
  for (const shows of [[at('available')], [at('attached', OTHER)], [undefined]]) {
    const { provider, calls } = scripted({ shows });
    await detachDisk(provider, ME, 'disk-1', context());
    t.same(calls, []);
  }
});

t.test('a detach that never ends is told, and goes on with the next try', async (t) => {
  const { provider, calls } = scripted({ shows: [attached], afterDetach: [at('detaching', ME)] });
  t.match(
    await messageOf(detachDisk(provider, ME, 'disk-1', context(300))),
    /^STILL_WORKING: .*detaching disk disk-1 .* because it is detaching/,
  );
  t.same(calls, ['detach host-a']);
});
