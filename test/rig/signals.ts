/** What happens when the user presses Ctrl-C. */
import { type RigRecord, takeDown } from './record.ts';

let stopping = false;

/** True when a signal has begun to end the process: what fails from now on fails because of that. */
export function isStopping(): boolean {
  return stopping;
}

/**
 * Signals end the process in order, and first the rig, once there is one. On any other end of the process the kernel
 * kills the rig's machines, and the next rig sweeps the rest. @returns what takes the handlers off again.
 */
export function exitOnSignals(record: () => RigRecord | undefined): () => void {
  const stop = (name: NodeJS.Signals): void => {
    stopping = true;
    const code = name === 'SIGINT' ? 130 : 143;
    const mine = record();
    if (!mine) process.exit(code);
    takeDown(mine).then(
      () => process.exit(code),
      (error: Error) => {
        process.stderr.write(`rig: ${error.message}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return () => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  };
}
