import { readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { attachLoop, detachLoop, findLoop } from '../../../../shared/kernel/loop-device.ts';
import { context, inOwnMounts, MIB, messageOf, run, scratch } from '../../volume-plugin/block/scratch.ts';

inOwnMounts(import.meta.filename);

const attribute = (device: string, name: string): string =>
  readFileSync(join('/sys/block', basename(device), name), 'utf8').trim();

const image = (folder: string, name = 'disk.img'): string => {
  const file = join(folder, name);
  run('truncate', '-s', String(4 * MIB), file);
  return file;
};

t.test('a file becomes a device once, past the page cache, and losetup tells the same of it', async (t) => {
  const file = image(scratch(t));
  t.equal(await findLoop(file, context()), undefined);
  const device = await attachLoop(file, context());
  t.equal(await attachLoop(file, context()), device, 'again');
  t.equal(await findLoop(file, context()), device);
  t.equal(
    run('losetup', '--noheadings', '--output', 'NAME,DIO,RO,SIZELIMIT', '--associated', file)
      .trim()
      .replace(/ +/g, ' '),
    `${device} 1 0 0`,
  );
  t.equal(attribute(device, 'size'), String((4 * MIB) / 512));
  await detachLoop(file, context());
  t.equal(await findLoop(file, context()), undefined);
  await detachLoop(file, context());
});

t.test('a device that losetup has made is found, from whatever path it was', async (t) => {
  const folder = scratch(t);
  const file = image(folder);
  const device = run('losetup', '--find', '--show', file).trim();
  symlinkSync(folder, join(folder, 'again'));
  t.equal(await findLoop(join(folder, 'again/disk.img'), context()), device);
  await detachLoop(join(folder, 'again/disk.img'), context());
  t.equal(run('losetup', '--associated', file), '');
});

t.test("a copy of the same name in another folder is another one's disk", async (t) => {
  const [mine, other] = [image(scratch(t)), image(scratch(t))];
  const device = run('losetup', '--find', '--show', other).trim();
  t.equal(await findLoop(mine, context()), undefined);
  const own = await attachLoop(mine, context());
  t.not(own, device);
  await detachLoop(mine, context());
  t.match(run('losetup', '--associated', other), device, 'it stays');
});

t.test('two devices of one file are nobody’s choice', async (t) => {
  const file = image(scratch(t));
  for (let n = 0; n < 2; n += 1) run('losetup', '--find', '--show', file);
  t.match(await messageOf(findLoop(file, context())), /behind several devices: \/dev\/loop\d+, \/dev\/loop\d+/);
});

t.test('many at once get a device each', async (t) => {
  const folder = scratch(t);
  const files = Array.from({ length: 12 }, (_, n) => image(folder, `disk-${n}.img`));
  const devices = await Promise.all(files.map((file) => attachLoop(file, context())));
  t.equal(new Set(devices).size, files.length);
  for (const [n, device] of devices.entries()) t.match(attribute(device, 'loop/backing_file'), files[n]);
  await Promise.all(files.map((file) => detachLoop(file, context())));
});

t.test('what cannot be a device is refused in the words of losetup', async (t) => {
  const folder = scratch(t);
  t.match(await messageOf(attachLoop(join(folder, 'none.img'), context())), /EXEC_FAILED: losetup .*none\.img/);
  t.match(await messageOf(attachLoop(folder, context())), /EXEC_FAILED: losetup/);
});
